"""Values that must not be seen: in logs, messages, tracebacks or what a command prints."""

from typing import Final

MASK: Final = "********"


class Secret:
    """A secret text: any way of printing it shows a mask; `reveal` gives what is behind it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def reveal(self) -> str:
        """Give the text to whom it is for: a client's configuration, a keyed hash, a comparison."""
        return self._text
