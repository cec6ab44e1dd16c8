"""Where a group begins on a partition that it has never committed: as text in the settings, and as what it means."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal

FirstStart = Literal["earliest", "latest"] | datetime
"""A time: the first record whose timestamp is not before it; the end where there is none."""

_WORDS: Final[Mapping[str, FirstStart]] = {"earliest": "earliest", "latest": "latest"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)  # Kafka has other uses for negative timestamps


def read_first_start(text: str) -> FirstStart:
    """Read `earliest`, `latest` or an RFC 3339 time; raises ValueError that says what is expected."""
    if text in _WORDS:
        return _WORDS[text]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or moment < _EPOCH:
        raise ValueError(f"{text!r} is none of {', '.join(_WORDS)} and no time with its offset like 2026-01-31T12:00Z")
    return moment
