from schemas.events import ClickEvent
from schemas.ids import ItemId, VisitorId
from schemas.state import Identity, InputPosition, Predecessor, VisitorState, decode_state, encode_state
from streams.state.blocked_ids import block, block_key, holds, is_block_key, without_blocked

SECRET = b"a secret"
COOKIE = VisitorId("cookie")


def click(anonymous_id: str | None = None) -> ClickEvent:
    """Make a click of a customer that may name an earlier id."""
    named = None if anonymous_id is None else VisitorId(anonymous_id)
    return ClickEvent(
        visitor_id=VisitorId("v1"), event_type="view", event_time=0, item_id=ItemId("a"), anonymous_id=named
    )


def test_a_key_does_not_tell_the_id_and_differs_by_secret() -> None:
    """Whoever reads the changelog finds no id in it, and whoever lacks the secret cannot compute the key."""
    key = block_key(SECRET, VisitorId("v-8f2c"))
    assert b"v-8f2c" not in key
    assert key == block_key(SECRET, VisitorId("v-8f2c"))
    assert key != block_key(b"another", VisitorId("v-8f2c"))
    assert is_block_key(key)
    assert not is_block_key(b"v-8f2c")


def test_a_block_is_a_state_that_every_version_reads() -> None:
    """An older worker that comes upon it decodes it, finds no session in it, and forgets it when it is due."""
    state = decode_state(encode_state(block(1000), due_ms=2000))
    assert (state.open_sessions, state.offsets, state.latest_ms) == ((), {}, 1000)


def test_a_block_holds_up_to_its_end_inclusive() -> None:
    """By the time of the record."""
    assert [holds(block(1000), time_ms) for time_ms in (0, 1000, 1001)] == [True, True, False]


def test_an_erased_id_is_not_named_anew_as_an_earlier_one() -> None:
    """The state of another visitor would name it; what that state names already is left to the erasure."""
    events = [click("cookie"), click("other"), click()]
    named = [event.anonymous_id for event in without_blocked(events, None, lambda one: one == COOKIE)]
    assert named == [None, "other", None]
    known = Predecessor(COOKIE, InputPosition("clickstream", 0, 0), 0, None)
    state = VisitorState({}, "answered", 0, identity=Identity(predecessors=(known,)))
    assert without_blocked(events, state, lambda one: one == COOKIE) == events
    assert without_blocked([click()], None, lambda _: True) == [click()]
