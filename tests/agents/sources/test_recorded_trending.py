from pathlib import Path

import pytest

from agents.sources.recorded_trending import read_trending
from schemas import wire
from schemas.errors import UsageError
from tests.serving.test_trending import trending


def test_each_line_is_a_list(tmp_path: Path) -> None:
    """As a consumer writes the values of the topic; empty lines are none."""
    lists = [trending("a b"), trending("c", "nl")]
    file = tmp_path / "trending.jsonl"
    file.write_bytes(b"\n\n".join(map(wire.encode, lists)) + b"\n")
    assert read_trending(file) == lists


@pytest.mark.parametrize("line", [b"{", b'{"items": []}', b"\xff"])
def test_a_line_that_is_no_list_is_named(tmp_path: Path, line: bytes) -> None:
    """With the file, and what to give instead."""
    file = tmp_path / "trending.jsonl"
    file.write_bytes(wire.encode(trending("a")) + b"\n" + line + b"\n")
    with pytest.raises(UsageError, match=r"trending\.jsonl, line 2 is no record of the topic trending"):
        read_trending(file)
