import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.encodings import Encodings, click_readers
from agents.settings import Settings, load_settings
from schemas import wire
from schemas.click_reader import Clicks
from schemas.errors import UsageError
from schemas.events import Erase
from schemas.ids import VisitorId
from streams.encodings.settings import EncodingSettings

SCHEMA = {
    "type": "record",
    "name": "Click",
    "fields": [
        {"name": "visitor_id", "type": "string"},
        {"name": "event_type", "type": "string"},
        {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "item_id", "type": "string"},
    ],
}
VALUE = b"\x00\x00\x00\x00\x07\x04v1\x08view\x80\xb4\xb0\x86\xbfh\x0achair"


def settings_of(**sections: Any) -> Settings:
    """Make settings."""
    return load_settings(sections, environment={})


def test_json_needs_none_of_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker on JSON runs without the extra."""
    _uninstall(monkeypatch)
    encodings = Encodings(settings_of())
    assert encodings.clicks is None
    record = Erase(visitor_id=VisitorId("v1"))
    assert encodings.encode(record) == wire.encode(record)


@pytest.mark.parametrize(
    ("key", "sections"),
    [
        ("clickstream.encoding.format", {"clickstream": {"encoding": {"format": "avro"}}}),
        ("catalog.encoding.format", {"catalog": {"encoding": {"format": "protobuf"}}}),
        ("outputs.encoding", {"outputs": {"encoding": "avro"}}),
    ],
)
def test_what_needs_the_extra_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, key: str, sections: dict[str, Any]
) -> None:
    """The setting and the command are named."""
    settings = settings_of(registry={"url": "http://registry:8081"}, **sections)
    _uninstall(monkeypatch)
    with pytest.raises(UsageError, match=rf"{key}: .*pip install 'insession\[registry-formats\]'"):
        Encodings(settings)


def test_clickstreams_and_catalog_are_read_by_schema_files(tmp_path: Path) -> None:
    """All clickstreams by the one of their section, the catalog by its own."""
    clicks, items = tmp_path / "click.avsc", tmp_path / "item.avsc"
    clicks.write_text(json.dumps(SCHEMA))
    items.write_text(json.dumps({"type": "record", "name": "Item", "fields": [{"name": "title", "type": "string"}]}))
    encodings = Encodings(
        settings_of(
            clickstream={"encoding": {"format": "avro", "schema_file": str(clicks)}, "sources": {"shop.orders": {}}},
            catalog={"encoding": {"format": "avro", "framing": "none", "schema_file": str(items)}},
        )
    )
    settings = settings_of(clickstream={"sources": {"shop.orders": {}}})
    readers = click_readers(settings, encodings.clicks)
    assert list(readers) == ["clickstream", "shop.orders"]
    for reader in readers.values():
        assert isinstance(reader.read(b"v1", VALUE, 1_795_168_800_000), Clicks)
    described: Any = encodings.catalog_reader(_never).read(b"chair", b"\x0aChair")
    assert described.item.title == "Chair"


async def test_a_file_that_is_no_schema_stops_at_start(tmp_path: Path) -> None:
    """Before anything is read."""
    file = tmp_path / "click.avsc"
    file.write_text("{")
    encoding = EncodingSettings(format="avro", schema_file=file)
    with pytest.raises(UsageError, match=r"clickstream\.encoding\.schema_file"):
        Encodings(settings_of(clickstream={"encoding": {"format": encoding.format, "schema_file": str(file)}}))


async def test_a_registry_that_stays_away_ends_the_start(tmp_path: Path) -> None:
    """After `registry.patience`, with what to look at."""
    settings = settings_of(
        kafka={"datadir": str(tmp_path)},
        registry={"url": "http://127.0.0.1:9", "patience": "1ms"},
        outputs={"encoding": "avro"},
    )
    with pytest.raises(_EndedError, match=r"gave no answer for subject .*registry\.url"):
        async with Encodings(settings).running(_end):
            pass


class _EndedError(Exception):
    pass


def _end(error: BaseException) -> None:
    raise _EndedError(str(error)) from error


def _never(error: BaseException) -> None:
    raise AssertionError from error


def _uninstall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Python not find the libraries of the extra."""
    for name in ("avro", "decoder", "outputs", "protobuf", "registry"):
        monkeypatch.delitem(sys.modules, f"streams.encodings.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "fastavro", None)
