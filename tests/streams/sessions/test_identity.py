"""The rules for a shopper with two ids, and a property test over crashes and interleavings of partitions."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.events import ClickEvent, Erase
from schemas.handovers import Adoption, Handover
from schemas.ids import EventId, ItemId, VisitorId
from schemas.records import SessionEvent
from schemas.state import InputPosition, OpenSession, VisitorState
from streams.sessions.identity import (
    AGAIN_AFTER_MS,
    MAX_HOPS,
    MAX_PREDECESSORS,
    erasures,
)
from streams.sessions.rules import SessionRules
from streams.sessions.sessionizer import Arrival
from tests.streams.two_ids import COOKIE, CUSTOMER, MINUTE_MS, OTHER, START_MS, Deployment, Disturbance


def settled(*clicks: tuple[VisitorId, int] | tuple[VisitorId, int, VisitorId], **rules: Any) -> Deployment:
    """Run clicks through an undisturbed deployment, each to its end before the next; times in minutes."""
    deployment = Deployment(replace_rules(**rules))
    for visitor_id, minute, *anonymous in clicks:
        deployment.click(visitor_id, minute * MINUTE_MS, *anonymous)
        deployment.settle()
    return deployment


def replace_rules(**rules: Any) -> SessionRules:
    """Return the rules with some of them set."""
    return SessionRules(**{"bot_burst_events": 1000, **rules})


def minutes(*numbers: int) -> list[str]:
    """Return the items of clicks at these minutes."""
    return [f"i{number * MINUTE_MS}" for number in numbers]


def test_a_login_in_mid_session_keeps_the_session() -> None:
    """What the cookie did and what the customer does is one session of the customer; the cookie's has no end."""
    deployment = settled((COOKIE, 0), (COOKIE, 1), (CUSTOMER, 2, COOKIE), (CUSTOMER, 3, COOKIE))
    assert deployment.items(CUSTOMER) == [minutes(0, 1, 2, 3)]
    assert deployment.items(COOKIE) == []
    assert deployment.ends == {}


def test_clicks_of_the_cookie_that_come_after_the_login_was_read_go_on_too() -> None:
    """The cookie's partition lags: its clicks from before the login still join the customer's session."""
    deployment = settled((CUSTOMER, 2, COOKIE), (COOKIE, 0), (COOKIE, 1))
    assert deployment.items(CUSTOMER) == [minutes(0, 1, 2)]
    assert deployment.items(COOKIE) == []


@pytest.mark.parametrize("order", [(COOKIE, CUSTOMER), (CUSTOMER, COOKIE)])
def test_an_event_that_only_says_who_it_is_takes_the_session_along(order: tuple[VisitorId, VisitorId]) -> None:
    """An alias between the last click of the cookie and the first of the customer is in no session itself."""
    deployment = Deployment()
    deployment.click(COOKIE, 0)
    deployment.click(CUSTOMER, MINUTE_MS, COOKIE, event_type="identify", item_id=None)
    for visitor_id in order:
        while deployment.take(deployment.home(visitor_id), "clicks"):
            pass
    deployment.settle()
    deployment.click(CUSTOMER, 2 * MINUTE_MS)
    deployment.settle()
    assert deployment.items(CUSTOMER) == [minutes(0, 2)]
    assert deployment.statuses == {"answered": 2, "identified": 1}


def test_what_the_cookie_does_after_a_logout_is_a_session_of_its_own() -> None:
    """Also where the handover comes only after those clicks: it reaches back from the login, not further."""
    before = settled((COOKIE, 0), (CUSTOMER, 1, COOKIE), (COOKIE, 2))
    deployment = Deployment()
    deployment.click(COOKIE, 0)
    deployment.click(COOKIE, 2 * MINUTE_MS)
    deployment.settle()
    deployment.click(CUSTOMER, MINUTE_MS, COOKIE)
    deployment.settle()
    for one in (before, deployment):
        assert (one.items(CUSTOMER), one.items(COOKIE)) == ([minutes(0, 1)], [minutes(2)])
    (cookies,) = [session for owner, session in deployment.sessions() if owner == COOKIE]
    assert (cookies.session_id, cookies.started_ms, cookies.event_count) == ("clicks-0-0", START_MS + 2 * MINUTE_MS, 1)


def test_two_customers_on_one_device_each_get_their_own() -> None:
    """Each event goes to the first who logged in after it, in whatever order the handovers come."""
    one_by_one = settled((COOKIE, 0), (CUSTOMER, 1, COOKIE), (COOKIE, 2), (OTHER, 3, COOKIE))
    late = settled((CUSTOMER, 1, COOKIE), (OTHER, 3, COOKIE), (COOKIE, 0), (COOKIE, 2))
    for deployment in (one_by_one, late):
        assert deployment.items(CUSTOMER) == [minutes(0, 1)]
        assert deployment.items(OTHER) == [minutes(2, 3)]
        assert deployment.items(COOKIE) == []


def test_a_session_that_is_too_old_is_parked_and_not_lost() -> None:
    """A pause above the gap parts sessions under two ids as it does under one."""
    deployment = settled((COOKIE, 0), (CUSTOMER, 31, COOKIE))
    assert sorted(deployment.items(CUSTOMER)) == [minutes(0), minutes(31)]


def test_parts_that_come_in_any_order_become_one_session() -> None:
    """The first part is beyond the gap of the login; what comes between them joins all three."""
    deployment = settled((CUSTOMER, 50, COOKIE), (COOKIE, 0), (COOKIE, 25))
    assert deployment.items(CUSTOMER) == [minutes(0, 25, 50)]


def test_where_no_session_may_be_parked_an_old_one_ends() -> None:
    """With one open session a visitor, the other has its session end under the customer."""
    deployment = settled((COOKIE, 0), (CUSTOMER, 31, COOKIE), max_open_sessions=1)
    assert [(owner, closed.end_reason) for owner, closed in deployment.ends.values()] == [(CUSTOMER, "inactivity")]
    assert deployment.items(CUSTOMER) == [minutes(0), minutes(31)]


def test_a_customer_whose_session_has_ended_goes_on_with_the_cookies() -> None:
    """It opens where none is open."""
    deployment = Deployment()
    deployment.click(COOKIE, 2 * MINUTE_MS)
    deployment.click(CUSTOMER, 0)
    deployment.click(CUSTOMER, MINUTE_MS, event_type="session_end", item_id=None)
    deployment.click(CUSTOMER, 3 * MINUTE_MS, COOKIE, event_type="session_end", item_id=None)
    deployment.settle()
    assert deployment.items(CUSTOMER) == [minutes(0), minutes(2)]


def test_a_chain_of_ids_ends_at_the_last() -> None:
    """A guest's cookie, the guest's order, the customer: one session."""
    deployment = settled((COOKIE, 0), (CUSTOMER, 1, COOKIE), (OTHER, 2, CUSTOMER))
    assert deployment.items(OTHER) == [minutes(0, 1, 2)]
    late = settled((CUSTOMER, 1, COOKIE), (OTHER, 2, CUSTOMER), (COOKIE, 0))
    assert late.items(OTHER) == [minutes(0, 1, 2)]


def test_ids_that_name_each_other_lose_nothing() -> None:
    """Two that do keep what they have after the first time, and a ring of three comes to rest."""
    deployment = settled((COOKIE, 0), (CUSTOMER, 1, COOKIE), (COOKIE, 2, CUSTOMER), (CUSTOMER, 7, COOKIE))
    assert deployment.all_items() == Counter(minutes(0, 1, 2, 7))
    ring = settled((COOKIE, 0, OTHER), (CUSTOMER, 1, COOKIE), (OTHER, 2, CUSTOMER), (COOKIE, 3, OTHER))
    assert ring.all_items() == Counter(minutes(0, 1, 2, 3))


def test_a_click_that_names_both_hands_over_once_in_a_while() -> None:
    """Every click of a customer may name the cookie: one handover a session, and again after some minutes."""
    deployment = settled(*[(CUSTOMER, minute, COOKIE) for minute in range(5)])
    assert len(deployment.home(COOKIE).logs["control"]) == 1
    deployment.click(CUSTOMER, AGAIN_AFTER_MS, COOKIE)
    deployment.settle()
    assert len(deployment.home(COOKIE).logs["control"]) == 2
    deployment.click(CUSTOMER, AGAIN_AFTER_MS + 31 * MINUTE_MS, COOKIE)
    deployment.settle()
    assert len(deployment.home(COOKIE).logs["control"]) == 3


@pytest.mark.parametrize("anonymous_id", [CUSTOMER, None])
def test_a_click_that_names_one_id_hands_nothing_over(anonymous_id: VisitorId | None) -> None:
    """Without another id the state has nothing about ids."""
    deployment = Deployment()
    deployment.click(CUSTOMER, 0, anonymous_id)
    deployment.settle()
    state = deployment.state(CUSTOMER)
    assert state is not None
    assert state.identity is None
    assert all(not partition.logs["control"] for partition in deployment.partitions)


def test_the_setting_switches_it_off() -> None:
    """Then both ids keep their sessions."""
    deployment = settled((COOKIE, 0), (CUSTOMER, 1, COOKIE), join_identities=False)
    assert (deployment.items(COOKIE), deployment.items(CUSTOMER)) == ([minutes(0)], [minutes(1)])


def test_a_bot_hands_nothing_over_and_is_not_handed_over() -> None:
    """Its events are in no session."""
    deployment = Deployment(replace_rules(bot_burst_events=1, bot_events_per_minute=1))
    for at_ms in range(3):
        deployment.click(COOKIE, at_ms)
        deployment.settle()
    deployment.click(CUSTOMER, 3, COOKIE)
    deployment.settle()
    assert deployment.items(CUSTOMER) == [["i3"]]
    assert len(deployment.items(COOKIE)) == 1


def test_bounds_and_what_was_bought_come_along() -> None:
    """The kept events are the latest of both, all are counted, event ids stay known, bought items are united."""
    deployment = Deployment(replace_rules(max_kept_events=2))
    deployment.click(COOKIE, 0, event_type="purchase", event_id=EventId("e0"), location="nl")
    deployment.click(COOKIE, 1, event_id=EventId("e1"))
    deployment.click(CUSTOMER, 2, COOKIE)
    deployment.settle()
    deployment.click(CUSTOMER, 1, event_id=EventId("e1"))
    deployment.settle()
    state = deployment.state(CUSTOMER)
    assert state is not None
    assert state.session is not None
    assert [event.item_id for event in state.session.events] == ["i1", "i2"]
    assert (state.session.event_count, state.session.location, state.purchased) == (3, "nl", ("i0",))
    assert state.session.started_ms == START_MS
    assert deployment.statuses["duplicate"] == 1


def test_session_ids_of_the_shop_keep_sessions_apart() -> None:
    """A session joins the one of its own id, and none of another id."""
    deployment = Deployment()
    deployment.click(COOKIE, 0, session_id="phone")
    deployment.click(CUSTOMER, 1, session_id="phone")
    deployment.click(CUSTOMER, 2, session_id="laptop")
    deployment.click(CUSTOMER, 3, COOKIE, session_id="laptop")
    deployment.settle()
    assert sorted(deployment.items(CUSTOMER)) == [["i0", "i1"], ["i2", "i3"]]


def test_a_forgotten_customer_adopts_nothing() -> None:
    """An adoption that is under way when its visitor is erased brings nobody back."""
    deployment = Deployment()
    deployment.click(COOKIE, 0)
    deployment.click(CUSTOMER, 1, COOKIE)
    deployment.take(deployment.home(COOKIE), "clicks")
    deployment.take(deployment.home(CUSTOMER), "clicks")
    deployment.flush(deployment.home(CUSTOMER))
    deployment.send(deployment.home(CUSTOMER), "clicks")
    deployment.home(CUSTOMER).write(CUSTOMER.encode(), None)
    deployment.settle()
    assert (deployment.items(COOKIE), deployment.items(CUSTOMER)) == ([], [])
    deployment.click(CUSTOMER, 2)
    deployment.settle()
    assert deployment.items(CUSTOMER) == [["i2"]]


def test_a_session_that_is_too_large_to_send_stays_where_it_is() -> None:
    """It would stay among the closings, until it is sent for sure, and they have half of the state's budget."""
    deployment = settled((COOKIE, 0))
    state = deployment.state(COOKIE)
    assert state is not None
    assert state.session is not None
    event = SessionEvent("view", START_MS, ItemId("i" * 128))
    half_bytes = SessionRules().max_state_bytes // 2
    large = replace(state, session=replace(state.session, events=(event,) * (half_bytes // 128)))
    handover = Handover(visitor_id=COOKIE, to=CUSTOMER, partition=1, until_ms=START_MS)
    joined = deployment.identities.hand_over(large, handover, InputPosition("control", 0, 0))
    assert joined.closings == ()
    assert joined.state is not None
    assert joined.state.session == large.session


def test_erasures_reach_the_other_ids() -> None:
    """From either id to the other, and down a chain; the narrow ones that workers write do not go back."""
    deployment = settled((COOKIE, 0), (CUSTOMER, 1, COOKIE), (OTHER, 2, CUSTOMER))
    reached = {
        (visitor_id, reach): [
            (other.visitor_id, other.reach, partition)
            for other, partition in erasures(deployment.state(visitor_id), Erase(visitor_id=visitor_id, reach=reach))
        ]
        for visitor_id, reach in ((CUSTOMER, "all"), (CUSTOMER, "predecessors"), (CUSTOMER, "self"), (COOKIE, "all"))
    }
    assert reached == {
        (CUSTOMER, "all"): [(COOKIE, "predecessors", None), (OTHER, "all", 2)],
        (CUSTOMER, "predecessors"): [(COOKIE, "predecessors", None)],
        (CUSTOMER, "self"): [],
        (COOKIE, "all"): [(CUSTOMER, "all", 1)],
    }
    assert erasures(None, Erase(visitor_id=COOKIE)) == []


def test_without_consent_only_the_ids_to_forget_stay() -> None:
    """Until the erasure of the other ids is on the broker."""
    deployment = settled((COOKIE, 0), (CUSTOMER, 1, COOKIE))
    event = ClickEvent(visitor_id=CUSTOMER, event_type="view", event_time=START_MS, consent=False)
    arrival = Arrival(InputPosition("clicks", 1, 1_000), START_MS)
    left = deployment.sessionizer.advance(deployment.state(CUSTOMER), (event,), arrival).state
    assert left is not None
    assert left.identity is not None
    assert (left.session, left.purchased, left.closings) == (None, (), ())
    assert [known.visitor_id for known in left.identity.predecessors] == [COOKIE]


def test_what_is_kept_of_ids_is_bounded() -> None:
    """An account that logs in on any number of devices keeps the latest, and adopts from older ones all the same."""
    deployment = Deployment()
    state: VisitorState | None = None
    for number in range(2 * MAX_PREDECESSORS):
        position = InputPosition("clicks", 1, number)
        event = ClickEvent(
            visitor_id=CUSTOMER,
            event_type="view",
            event_time=START_MS + number,
            item_id=ItemId("i"),
            anonymous_id=VisitorId(f"device{number}"),
        )
        arrival = Arrival(position, START_MS + number)
        advance = deployment.sessionizer.advance(state, [event], arrival)
        state = deployment.identities.follow(advance, [event], arrival).state
    assert state is not None
    assert state.identity is not None
    assert len(state.identity.predecessors) == MAX_PREDECESSORS
    session = OpenSession(
        session_id="s", explicit_id=None, started_ms=START_MS, latest_ms=START_MS, event_count=1, events=(), seen=()
    )  # type: ignore[arg-type]
    adoption = Adoption(
        visitor_id=CUSTOMER, predecessor=VisitorId("device0"), source=InputPosition("clicks", 0, 3), sessions=(session,)
    )
    adopted = deployment.identities.adopt(state, adoption, InputPosition("control", 1, 0)).state
    assert adopted is not None
    assert adopted.session is not None
    assert adopted.session.event_count == 2 * MAX_PREDECESSORS + 1


def test_an_adoption_from_a_topic_made_anew_is_taken_in_once() -> None:
    """Its source has an offset below the last adopted one, which is of the earlier topic; that stays known, too."""
    deployment = settled((COOKIE, 0), (CUSTOMER, 1, COOKIE))
    state = deployment.state(CUSTOMER)
    session = deployment.sessions()[0][1]
    assert state is not None

    def adopted(state: VisitorState, source: InputPosition, offset: int) -> VisitorState:
        adoption = Adoption(visitor_id=CUSTOMER, predecessor=COOKIE, source=source, sessions=(session,))
        after = deployment.identities.adopt(state, adoption, InputPosition("control", 1, offset)).state
        assert after is not None
        return after

    def events(state: VisitorState) -> int:
        return sum(one.event_count for one in state.open_sessions)

    old, new = InputPosition("clicks", 0, 90, 1), InputPosition("clicks", 0, 4, 2)
    state = adopted(state, old, 50)
    before = events(state)
    state = adopted(state, new, 51)
    assert events(state) == before + session.event_count
    for source in (new, old):
        assert events(adopted(state, source, 52)) == events(state)


def test_hops_are_bounded() -> None:
    """A session that went round in a ring stays."""
    deployment = settled((COOKIE, 0), (CUSTOMER, 1, COOKIE), (OTHER, 2, CUSTOMER))
    state = deployment.state(CUSTOMER)
    session = OpenSession(
        session_id="s",  # type: ignore[arg-type]
        explicit_id=None,
        started_ms=START_MS,
        latest_ms=START_MS,
        event_count=1,
        events=deployment.sessions()[0][1].events[:1],
        seen=(),
    )
    adoption = Adoption(
        visitor_id=CUSTOMER,
        predecessor=COOKIE,
        source=InputPosition("clicks", 0, 9),
        sessions=(session,),
        hops=MAX_HOPS - 1,
    )
    joined = deployment.identities.adopt(state, adoption, InputPosition("control", 1, 9))
    assert joined.closings == ()
    assert joined.state is not None
    assert joined.state.session == session


DISTURBANCES = st.builds(
    Disturbance,
    st.integers(0, 2**32),
    st.tuples(st.just(8), st.sampled_from([1, 2, 8]), st.just(8), st.just(4), st.just(1), st.just(1)),
)


def _shopping() -> st.SearchStrategy[list[tuple[VisitorId, int, VisitorId | None]]]:
    """Yield clicks in order of time, with pauses within a session or beyond one: who, when, who it was before."""
    click = st.tuples(
        st.sampled_from([(COOKIE, None), (CUSTOMER, None), (CUSTOMER, COOKIE), (OTHER, None), (OTHER, COOKIE)]),
        st.sampled_from([1000, 5 * MINUTE_MS, 20 * MINUTE_MS, 40 * MINUTE_MS]),
    )

    def timed(clicks: Sequence[Any]) -> Iterator[tuple[VisitorId, int, VisitorId | None]]:
        at_ms = 0
        for (visitor_id, anonymous_id), pause_ms in clicks:
            at_ms += pause_ms
            yield visitor_id, at_ms, anonymous_id

    return st.lists(click, min_size=1, max_size=12).map(lambda clicks: list(timed(clicks)))


@settings(max_examples=400)
@given(clicks=_shopping(), disturbance=DISTURBANCES, partitions=st.sampled_from([1, 2, 3]))
def test_every_event_is_in_exactly_one_session_whatever_crashes(
    clicks: list[tuple[VisitorId, int, VisitorId | None]], disturbance: Disturbance, partitions: int
) -> None:
    """None is lost and none is there twice: whatever partition lags, crashes, or reads a control record again.

    Every event is under the id of the first one who named its visitor after it, or under its own.
    """
    deployment = Deployment(partitions=partitions)
    for visitor_id, at_ms, anonymous_id in clicks:
        deployment.click(visitor_id, at_ms, anonymous_id)
    disturbance.disturb(deployment)
    deployment.settle()
    owners = {event.item_id: owner for owner, session in deployment.sessions() for event in session.events}
    assert deployment.all_items() == Counter(f"i{at_ms}" for _, at_ms, _ in clicks)
    assert sum(session.event_count for _, session in deployment.sessions()) == len(clicks)
    for visitor_id, at_ms, _ in clicks:
        if visitor_id != COOKIE:
            assert owners[ItemId(f"i{at_ms}")] == visitor_id


@settings(max_examples=200)
@given(pauses=st.lists(st.tuples(st.booleans(), st.integers(1, 20)), min_size=1, max_size=8), disturbance=DISTURBANCES)
def test_a_login_gives_one_session_whatever_crashes(pauses: list[tuple[bool, int]], disturbance: Disturbance) -> None:
    """First the cookie, then the customer, without a pause above the gap: one session, with every event, in order."""
    deployment = Deployment(partitions=2)
    clicks, at_ms = list[int](), 0
    for is_customer, minute in sorted(pauses, key=lambda pause: pause[0]):
        at_ms += minute * MINUTE_MS
        clicks.append(at_ms)
        deployment.click(CUSTOMER if is_customer else COOKIE, at_ms, COOKIE if is_customer else None)
    clicks.append(at_ms + MINUTE_MS)
    deployment.click(CUSTOMER, at_ms + MINUTE_MS, COOKIE)
    disturbance.disturb(deployment)
    deployment.settle()
    assert deployment.items(CUSTOMER) == [[f"i{moment}" for moment in clicks]]
    assert deployment.items(COOKIE) == []
