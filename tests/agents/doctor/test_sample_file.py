import gzip
import json
from pathlib import Path

import pytest

from agents.doctor.sample_file import sampled
from schemas.errors import InsessionError


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_line_is_a_value_without_a_key(tmp_path: Path, *, is_packed: bool) -> None:
    """Blank lines are none; what is no JSON is a record all the same; the first ones count."""
    content = b'{"a": 1}\r\n\n{"value": 2}\nno json\n{"a": 4}\n'
    file = tmp_path / "sample"
    file.write_bytes(gzip.compress(content) if is_packed else content)
    found = sampled(file, 3)
    assert [one.value for one in found] == [b'{"a": 1}', b'{"value": 2}', b"no json"]
    assert {one.key for one in found} == {None}


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ({"key": "k", "value": {"a": 1}}, b"k", b'{"a":1}'),
        ({"key": None, "value": None}, None, None),
        ({"key": "k", "value_b64": "AAE="}, b"k", b"\x00\x01"),
        (
            {"topic": "t", "partition": 0, "offset": 3, "tstype": "create", "ts": 1, "key": "k", "payload": "x"},
            b"k",
            b"x",
        ),
        ({"key": "k", "value": 1, "colour": "red"}, None, b'{"key": "k", "value": 1, "colour": "red"}'),
    ],
)
def test_a_line_may_be_a_record_with_its_key(
    tmp_path: Path, line: dict[str, object], key: bytes | None, value: bytes | None
) -> None:
    """As kcat prints it, or as key and value; an event that has a key among other things is an event."""
    file = tmp_path / "sample.jsonl"
    file.write_text(json.dumps(line))
    assert [(one.key, one.value) for one in sampled(file, 10)] == [(key, value)]


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    """With its name."""
    file = tmp_path / "sample.gz"
    file.write_bytes(gzip.compress(b"{}" * 1000)[:-9])
    with pytest.raises(InsessionError, match=r"sample\.gz cannot be read"):
        sampled(file, 10)
