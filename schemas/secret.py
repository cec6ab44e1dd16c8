"""Values that must not be seen: in logs, messages, tracebacks or what a command prints."""

import re
from typing import Final

MASK: Final = "********"
_USER: Final = re.compile(
    r"""(?<=://)[^\s/@"'\\]{1,1024}@|[^\s/:@"',\\]{1,256}:(?!//|(?<=models:)/)[^\s"'\\]{1,1024}@"""
)
"""The user part of an address, with or without a scheme; a password that is not escaped as it should be, too.

`models:/NAME@ALIAS`, a version in MLflow, has none.
"""
_PARAMETER: Final = re.compile(
    r"""(?i)(?<=[?&])((?:access[_-]?|api[_-]?|auth[_-]?)?(?:key|token|secret|password|signature))=[^\s&"'\\]+"""
)


def masked(text: str) -> str:
    """Mask what is secret in the addresses of a text: users with their passwords, and parameters that are keys.

    Settings that are addresses are texts, so whatever prints one goes through this: `config show`, errors, logs.
    """
    if "@" in text:
        text = _USER.sub(f"{MASK}@", text)
    return _PARAMETER.sub(rf"\1={MASK}", text) if "=" in text else text


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
        """Return the text to whom it is for: a client's configuration, a keyed hash, a comparison."""
        return self._text
