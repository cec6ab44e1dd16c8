"""What can go wrong between a value and its schema."""

from schemas.errors import InsessionError


class SchemaError(ValueError):
    """A schema cannot be used, or the registry says that there is none: its values cannot be read, now or later."""


class RegistryUnavailableError(InsessionError):
    """The schema registry does not answer, or refuses us: whether there is such a schema is not known."""
