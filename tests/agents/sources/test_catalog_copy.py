from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.settings import load_settings
from agents.sources.local_data import catalog_here
from schemas import wire
from schemas.catalog_mapping import OURS
from schemas.errors import InsessionError
from schemas.ids import ItemId
from schemas.records import CatalogItem
from schemas.topic_url import parse_topic_url
from session_model.data.catalogs import read_catalog
from streams.local.embedded_broker import EmbeddedBroker
from streams.records import OutputRecord
from streams.tools.sender import Sender


@pytest.fixture
def address() -> Iterator[str]:
    """Run a broker."""
    with EmbeddedBroker() as broker:
        yield broker.address


def say(address: str, *records: tuple[bytes, bytes | None]) -> None:
    """Write catalog records."""
    sender = Sender({"bootstrap.servers": address}, client_id="test")
    for key, value in records:
        sender.send(OutputRecord("catalog", key, value))
    sender.flush()


def test_an_item_is_what_the_shop_said_last(address: str, tmp_path: Path) -> None:
    """As in a worker: a tombstone removes it, and a record that cannot be read closes it."""
    bench = CatalogItem(item_id=ItemId("bench"), category="wood")
    values = [(b"bench", b'{"item_id": "bench"}'), (b"chair", b'{"item_id": "chair"}'), (b"stool", b"{}")]
    say(address, *values, (b"bench", wire.encode(bench)), (b"chair", None), (b"stool", b"no JSON"))
    with catalog_here(parse_topic_url(f"kafka://{address}/catalog"), load_settings(), tmp_path) as here:
        assert here.path is not None
        assert read_catalog(here.path, here.mapping) == [bench]
    assert not here.path.exists()


def test_a_shop_s_own_records_are_read_by_its_mapping(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once: the copy has our form."""
    monkeypatch.setenv("INSESSION_CATALOG__MAPPING__PATHS__CATEGORY", "group")
    say(address, (b"bench", b'{"item_id": "bench", "group": "wood"}'))
    with catalog_here(parse_topic_url(f"kafka://{address}/catalog"), load_settings()) as here:
        assert here.path is not None
        assert here.mapping == OURS
        assert [item.category for item in read_catalog(here.path, here.mapping)] == ["wood"]


def test_a_file_or_none_stays_what_it_is(tmp_path: Path) -> None:
    """With the mapping of the settings."""
    settings = load_settings()
    for path in (None, tmp_path / "catalog.jsonl"):
        with catalog_here(path, settings, tmp_path) as here:
            assert (here.path, here.mapping) == (path, settings.catalog.mapping)


def test_a_topic_that_describes_nothing_is_refused(address: str) -> None:
    """It may be another one."""
    say(address, (b"bench", None))
    catalog = parse_topic_url(f"kafka://{address}/catalog")
    with pytest.raises(InsessionError, match="topic catalog describes no item"), catalog_here(catalog, load_settings()):
        pass
