"""What decodes values that are no JSON, as those see it who need none of the libraries behind it."""

from typing import Protocol


class ValueDecoder(Protocol):
    """Decodes the values of one topic."""

    def decode(self, value: bytes) -> object:
        """Return the value as builtin objects; raises ValueError where it cannot be read.

        Raises RegistryUnavailableError where its schema is `missing` and cannot be had.
        """

    def missing(self, value: bytes) -> int | None:
        """Return the id of the value's schema where it must be learned first."""

    def learn(self, schema_id: int) -> None:
        """Ask for a schema, or that there is none; may wait. Raises RegistryUnavailableError."""
