"""How the tools show what others wrote: bounded, and without a character that a terminal would obey."""

from datetime import UTC, datetime
from typing import Final

MAX_CELL: Final = 120
_LAST_MS: Final = 253_402_300_799_000  # the end of the year 9999


def shown(text: str, at_most: int = MAX_CELL) -> str:
    """Escape what is not printable, line ends and bidirectional controls too, and cut at `at_most` characters."""
    cut = text[:at_most]
    plain = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in cut)
    return plain + "…" * (len(text) > at_most)


def shown_bytes(content: bytes | None, at_most: int) -> str:
    """Show bytes as text where they are UTF-8, else in hexadecimal; the length is told where they are cut."""
    if content is None:
        return "(none)"
    cut = content[:at_most]
    rest = f" … {len(content):,} bytes in all" if len(content) > at_most else ""
    try:
        # A cut may go through a character: up to three bytes at its end are then left out.
        text = cut.decode() if not rest else _whole_characters(cut)
    except UnicodeDecodeError:
        return f"hex {cut.hex()}{rest}"
    return shown(text, len(text)) + rest


def shown_time(time_ms: int) -> str:
    """Show Unix milliseconds as UTC to the second; what no calendar has as the nearest moment that it has."""
    bounded = min(max(time_ms, 0), _LAST_MS)
    return f"{datetime.fromtimestamp(bounded / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def rfc3339(time_ms: int) -> str:
    """Spell Unix milliseconds for machines, as UTC to the second."""
    return shown_time(time_ms).replace(" ", "T") + "Z"


def _whole_characters(cut: bytes) -> str:
    for missing in range(3):
        try:
            return cut[: len(cut) - missing].decode()
        except UnicodeDecodeError:
            continue
    return cut[:-3].decode()
