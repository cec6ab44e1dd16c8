import pytest

from schemas.ids import VisitorId
from schemas.state import InputPosition
from streams.records import InputRecord
from streams.state.id_search import IdSearch


def record(
    key: bytes | None, value: bytes | None, offset: int = 0, *, headers: tuple[tuple[str, bytes], ...] = ()
) -> InputRecord:
    """Make a record of partition 1, an hour old for each offset."""
    return InputRecord(InputPosition("t", 1, offset), key, value, 1000 + offset, headers)


@pytest.mark.parametrize(
    "one",
    [
        record(b"visitor-1", b""),
        record(None, b'{"visitor_id":"visitor-1"}'),
        record(None, b"\xd9\x09visitor-1\x01"),
        record(None, b"", headers=(("ce_subject", b"visitor-1"),)),
        record(b"\xffvisitor-1", b""),
        record(b"visitor-1", None),
    ],
)
def test_an_id_is_found_in_key_value_and_headers(one: InputRecord) -> None:
    """Also in what is no text, and as the key of a tombstone."""
    assert IdSearch([VisitorId("visitor-1")]).names(one)
    assert not IdSearch([VisitorId("visitor-2")]).names(one)


def test_an_id_is_found_as_json_escapes_it() -> None:
    """Not every producer writes UTF-8 as it is."""
    search = IdSearch([VisitorId("zoë-besucherin")])
    assert search.names(record(None, b'{"visitor_id": "zo\\u00eb-besucherin"}'))
    assert search.names(record(None, '{"visitor_id": "zoë-besucherin"}'.encode()))


def test_a_short_id_is_a_word_of_its_own() -> None:
    """It would else be part of half of all numbers."""
    search = IdSearch([VisitorId("7")])
    assert search.names(record(None, b'{"visitor_id":"7"}'))
    assert search.names(record(b"7", b""))
    assert not search.names(record(None, b'{"item_id":"17","price":7.5e-7}'.replace(b"7.5", b"75")))


def test_no_ids_are_found_nowhere() -> None:
    """An empty search matches nothing."""
    assert not IdSearch([]).names(record(b"v", b"v"))


def test_what_is_found_tells_where_tombstones_and_deletions_have_to_go() -> None:
    """A key that has its tombstone needs no further one; a deletion reaches the last record that names an id."""
    search = IdSearch([VisitorId("visitor-1"), VisitorId("visitor-2")])
    found = search.found(
        [
            record(b"visitor-1", b"x", 0),
            record(b"visitor-2", b"x", 1),
            record(b"other", b"names visitor-1", 2),
            record(b"visitor-2", None, 3),
            record(b"other", b"x", 4),
        ]
    )
    assert (found.records, found.newest_ms) == (3, 1002)
    assert found.keys == {1: {b"visitor-1"}}
    assert found.ends == {1: 4}
