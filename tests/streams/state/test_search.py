import tracemalloc
from collections.abc import Iterable, Sequence

import pytest
from msgspec.structs import replace

from schemas.ids import ItemId, VisitorId
from schemas.state import Identity, InputPosition, Predecessor, Successor, VisitorState, encode_state, mark_key
from streams.records import InputRecord
from streams.state.fencing import CLAIM_KEY, Owner
from streams.state.search import StateSurvey, survey, surveyed_again

COOKIE, CUSTOMER, SIBLING, OLDER = (VisitorId(f"{name}-of-somebody") for name in ("cookie", "user", "sibling", "older"))


def stored(earlier: Iterable[VisitorId] = (), later: Iterable[VisitorId] = ()) -> bytes:
    """Encode a state that names these ids."""
    predecessors = tuple(Predecessor(one, InputPosition("clickstream", 0, 0), 0, None) for one in earlier)
    successors = tuple(Successor(one, 0, 0) for one in later)
    identity = Identity(predecessors=predecessors, successors=successors)
    return encode_state(VisitorState({}, "answered", latest_ms=0, identity=identity), due_ms=0)


def surveyed(asked: VisitorId, *records: tuple[bytes, bytes | None], writers: Sequence[Owner] = ()) -> StateSurvey:
    """Survey a changelog of one partition; writers: of the first records."""
    log = [InputRecord(InputPosition("log", 0, at), key, value, 0) for at, (key, value) in enumerate(records)]
    owned = [replace(record, headers=writer.headers()) for record, writer in zip(log, writers, strict=False)]
    return survey([asked], lambda: [*owned, *log[len(owned) :]])


DEVICE = (
    (COOKIE.encode(), stored([OLDER], [CUSTOMER, SIBLING])),
    (CUSTOMER.encode(), stored([COOKIE])),
    (SIBLING.encode(), stored([COOKIE])),
    (b"stranger", stored()),
)


def test_a_customer_goes_with_the_cookies_that_became_it_and_nobody_else() -> None:
    """Whoever else logged in on that device stays."""
    found = surveyed(CUSTOMER, *DEVICE)
    assert (found.whole, found.earlier) == ({CUSTOMER}, {COOKIE, OLDER})
    assert found.states == {(0, CUSTOMER), (0, COOKIE)}


def test_a_cookie_goes_with_all_that_it_became() -> None:
    """As an erasure of it by the workers takes them."""
    found = surveyed(COOKIE, *DEVICE)
    assert (found.whole, found.earlier) == ({COOKIE, CUSTOMER, SIBLING}, {OLDER})


def test_an_id_whose_own_state_is_gone_is_found_in_what_names_it() -> None:
    """The state of the customer says which cookie it was, when that one is long forgotten."""
    found = surveyed(COOKIE, (CUSTOMER.encode(), stored([COOKIE])))
    assert (found.whole, found.states) == ({COOKIE, CUSTOMER}, {(0, CUSTOMER)})


def test_an_erased_state_leaves_records_but_no_state() -> None:
    """The changelog holds it until it is compacted, and its tombstone for a while longer."""
    key = CUSTOMER.encode()
    found = surveyed(CUSTOMER, (key, stored([COOKIE])), (key, None))
    assert (found.records, found.states, found.ids) == (2, set(), {CUSTOMER})


def test_what_was_handed_over_links_ids_whose_states_are_gone() -> None:
    """A run that could not wait for its end has erased them, and is run again."""
    found = survey([CUSTOMER], list, lambda: [(COOKIE, CUSTOMER), (OLDER, COOKIE), (SIBLING, VisitorId("x"))])
    assert (found.whole, found.earlier) == ({CUSTOMER}, {COOKIE, OLDER})


def test_a_state_that_cannot_be_read_is_counted_by_its_key() -> None:
    """It is erased all the same; so is what lies under a key that is no text."""
    found = surveyed(CUSTOMER, (CUSTOMER.encode(), b"damaged"), (b"\xff" + CUSTOMER.encode(), b"a mark"))
    assert (found.records, found.states) == (2, {(0, CUSTOMER)})


def test_what_a_former_owner_writes_late_is_a_record_but_no_state() -> None:
    """A recovery passes over it; until it is compacted away it names the visitor. Claims are nobody's."""
    first, second = Owner(1, b"worker-1"), Owner(2, b"worker-2")
    records = (
        (CUSTOMER.encode(), stored()),
        (CLAIM_KEY, None),
        (CUSTOMER.encode(), None),
        (CUSTOMER.encode(), stored()),
    )
    found = surveyed(CUSTOMER, *records, writers=(first, second, second, first))
    assert (found.records, found.states) == (3, set())


def test_a_mark_that_was_left_alone_is_to_be_erased() -> None:
    """Its key names the visitor, also one with a short id."""
    found = surveyed(VisitorId("v1"), (mark_key(b"v1"), b"a mark"), (mark_key(b"v12"), b"of somebody else"))
    assert (found.records, found.states) == (1, {(0, VisitorId("v1"))})
    found = surveyed(VisitorId("v1"), (mark_key(b"v1"), b"a mark"), (mark_key(b"v1"), None))
    assert (found.records, found.states) == (2, set())


def test_what_is_looked_at_again_is_of_the_same_ids() -> None:
    """A cookie that went with one customer leads to nobody else; that the other one names it is counted."""
    found = surveyed(CUSTOMER, *DEVICE)
    assert found.others == 1
    erased = [InputRecord(InputPosition("log", 0, at), key, value, 0) for at, (key, value) in enumerate(DEVICE[2:])]
    left = surveyed_again(found, erased)
    assert (left.ids, left.states, left.others, left.records) == (found.ids, set(), 1, 1)


def test_a_word_that_stands_in_every_state_keeps_none_of_them_in_memory() -> None:
    """Only what is said of the ids is kept: here twenty states of others are not, each as long as a state may be."""
    states = 20
    purchased = (ItemId("i" * 60_000),)
    value = encode_state(VisitorState({}, "answered", latest_ms=0, purchased=purchased), due_ms=0)

    def read() -> Iterable[InputRecord]:
        for at in range(states):
            yield InputRecord(InputPosition("log", 0, at), b"visitor-%d" % at, bytes(bytearray(value)), 0)

    tracemalloc.start()
    found = survey([VisitorId("answered")], read)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found.records, found.states, found.others) == (states, set(), 0)
    assert peak_bytes < states * len(value) / 2


@pytest.mark.parametrize("partition", [0, 65, 200])
def test_a_short_id_is_found_whatever_byte_follows_it(partition: int) -> None:
    """In a state no quotation mark ends an id; partition 65 is written as the letter A."""
    state = VisitorState(
        {}, "answered", latest_ms=0, identity=Identity(successors=(Successor(VisitorId("v1"), partition, 0),))
    )
    assert surveyed(VisitorId("v1"), (COOKIE.encode(), encode_state(state, due_ms=0))).earlier == {COOKIE}
