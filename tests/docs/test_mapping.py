import json
import tomllib
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from schemas.click_reader import REKEYED_HEADER, ClickReader, Clicks
from schemas.mapping import FieldMapping
from schemas.presets import PRESETS
from schemas.validation import Ignored, Rejection
from tests.docs.documents import ROOT, Block, blocks

PAGE = ROOT / "docs/mapping.md"
RECORD_TIME_MS = 1_795_168_900_000
_BLOCKS = list(blocks(PAGE))
EXAMPLES = [
    pytest.param(*three, id=str(three[0]))
    for three in zip(_BLOCKS, _BLOCKS[1:], _BLOCKS[2:], strict=False)
    if [block.info for block in three] == ["json", "toml", "text"]
]


def _records(text: str) -> list[Any]:
    """Read one JSON document after the other."""
    found: list[Any] = []
    decoder, rest = json.JSONDecoder(), text.strip()
    while rest:
        value, end = decoder.raw_decode(rest)
        found.append(value)
        rest = rest[end:].lstrip()
    return found


def _read(reader: ClickReader, record: Any) -> list[str]:
    """Return what becomes of a record, in the page's words."""
    value, headers = record, []
    if isinstance(record, dict) and record.keys() == {"headers", "value"}:
        value, headers = record["value"], [(name, text.encode()) for name, text in record["headers"].items()]
    encoded = json.dumps(value).encode()
    visitors = reader.visitor_ids(None, encoded, headers)
    if not isinstance(visitors, tuple):
        return [_other(visitors)]
    told: list[str] = []
    for visitor in visitors:
        found = reader.read(visitor.encode(), encoded, RECORD_TIME_MS, [*headers, (REKEYED_HEADER, b"")])
        if isinstance(found, Clicks):
            told += [_click(msgspec.to_builtins(click)) for click in found.events]
            told += [f"repaired: {repair.field} {repair.reason}" for repair in sorted(found.repairs, key=str)]
        else:
            told.append(_other(found))
    return told


def _click(click: dict[str, Any]) -> str:
    fields = [click.pop(name, "") for name in ("visitor_id", "event_type", "item_id")]
    del click["event_time"]
    return " ".join([*filter(None, fields), *(f"{name}={_spelled(value)}" for name, value in sorted(click.items()))])


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _other(found: Ignored | Rejection) -> str:
    return f"{'ignored' if isinstance(found, Ignored) else 'dead letter'}: {found.reason}"


def _mapping(settings: str) -> FieldMapping:
    return msgspec.convert(tomllib.loads(settings)["clickstream"]["mapping"], FieldMapping)


@pytest.mark.parametrize(("records", "settings", "clicks"), EXAMPLES)
def test_an_example_is_read_as_the_page_says(records: Block, settings: Block, clicks: Block) -> None:
    """Record, settings, clicks: each line is a click, a repair, or why there is none."""
    reader = ClickReader(_mapping(settings.text))
    assert [line for record in _records(records.text) for line in _read(reader, record)] == clicks.text.splitlines()


def test_every_format_is_on_the_page() -> None:
    """With a worked example and a row in the table; and no other one is."""
    shown = {_mapping(settings.text).format for _, settings in pairwise(_BLOCKS) if settings.info == "toml"}
    rows = {line.split("|")[2].strip(" `") for line in PAGE.read_text().splitlines() if line.count("|") > 6}
    assert shown | {"rudderstack"} == set(PRESETS)
    assert rows - {"format", "---"} == PRESETS.keys() - {"insession"}
