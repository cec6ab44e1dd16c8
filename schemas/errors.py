"""The errors that are a message to a person, not a bug: the command line prints them as one line."""

from schemas.secret import masked


class InsessionError(Exception):
    """Something a person can mend; the message says what happened, to what, and what to do. Exit code 1."""

    def __str__(self) -> str:
        return masked(super().__str__())


class UsageError(InsessionError):
    """A setting or argument is wrong. Exit code 2."""


def without_input(error: BaseException) -> str:
    """Describe an error, for logs: the `repr` of a UnicodeDecodeError holds all bytes that it read, ids too."""
    return f"{type(error).__name__}: {error}"
