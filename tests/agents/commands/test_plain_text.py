import pytest

from agents.commands.plain_text import rfc3339, shown, shown_bytes, shown_time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ü €", "plain ü €"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\u202egnp", "\\u202egnp"),
        ("x" * 12, "x" * 12),
        ("x" * 13, "x" * 12 + "…"),
    ],
)
def test_a_terminal_has_nothing_to_obey(text: str, expected: str) -> None:
    """Escapes, line ends and direction marks are spelled out, and what is longer than twelve characters is cut."""
    assert shown(text, 12) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "(none)"),
        (b"", ""),
        (b'{"a": 1}\n', '{"a": 1}\\n'),
        (b"\xff\x00", "hex ff00"),
        (b"0123456789abc", "0123456789 … 13 bytes in all"),
        ("12345678€".encode(), "12345678 … 11 bytes in all"),
        (b"\xff" * 11, "hex " + "ff" * 10 + " … 11 bytes in all"),
    ],
)
def test_bytes_are_text_where_they_are_text(content: bytes | None, expected: str) -> None:
    """At most ten bytes are asked for: a cut through a character leaves it out, anything else is hexadecimal."""
    assert shown_bytes(content, 10) == expected


@pytest.mark.parametrize(
    ("time_ms", "expected"),
    [
        (1_700_000_000_999, "2023-11-14 22:13:20"),
        (-1, "1970-01-01 00:00:00"),
        (1 << 62, "9999-12-31 23:59:59"),
    ],
)
def test_every_timestamp_can_be_shown(time_ms: int, expected: str) -> None:
    """A producer may write any number; those outside the calendar become its ends."""
    assert shown_time(time_ms) == expected
    assert rfc3339(time_ms) == expected.replace(" ", "T") + "Z"
