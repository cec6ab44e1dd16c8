import json
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from msgspec.structs import replace

from schemas import wire
from schemas.ids import ItemId
from schemas.ranking import IntentProbabilities
from schemas.records import CountedView, RecommendedItem
from schemas.state import ClosedSession, InputPosition, VisitorState, decode_state, encode_state
from schemas.validation import Rejection
from serving.chain import Answer, AnswerRequest, Recommender
from streams.delivery.dead_letters import HEADER_PREFIX, MAX_DETAIL_LENGTH
from streams.records import InputRecord

GAP_MS = 30 * 60_000
START_MS = 1_700_000_000_000


@pytest.fixture(autouse=True)
def logged() -> Any:
    """Catch the log lines."""
    with structlog.testing.capture_logs() as entries:
        yield entries


async def test_first_click_gives_an_answer_and_an_intent_signal(worker: Any) -> None:
    """A click without any release is answered from what is popular in the stream, and its pattern is told."""
    answer, intent = await worker.click("v1", item_id="a")
    recommendation = wire.decode_recommendation_set(answer.value)
    signal = wire.decode_intent_signal(intent.value)
    assert (answer.topic, answer.key, answer.partition) == ("recommendations", b"v1", 0)
    assert (recommendation.id, recommendation.status, recommendation.tier) == ("clickstream-0-0", "answered", "popular")
    assert [item.item_id for item in recommendation.items] == ["a"]
    assert recommendation.reason == "no_release"
    assert (signal.id, signal.prefix_length, signal.purchase_status) == ("clickstream-0-0", 1, "unavailable")
    assert signal.purchase_probability is None
    assert (signal.leave_probability, signal.cart_abandonment_probability) == (None, None)


@pytest.mark.parametrize(
    ("told", "status"),
    [(IntentProbabilities(0.2, 0.3, 0.4), "calibrated"), (IntentProbabilities(None, 0.3), "unavailable")],
)
async def test_every_probability_that_is_known_is_told(
    worker: Any, monkeypatch: pytest.MonkeyPatch, told: IntentProbabilities, status: str
) -> None:
    """The signal has each in its field, and null for what is not known; the status is that of the purchase."""

    async def answer(_self: Recommender, _request: AnswerRequest) -> Answer:
        return Answer([], intent=told, intent_source="features")

    monkeypatch.setattr(Recommender, "answer", answer)
    signal = wire.decode_intent_signal((await worker.click("v1", item_id="a"))[1].value)
    assert (signal.purchase_status, signal.purchase_source) == (status, "features")
    assert told == (signal.purchase_probability, signal.leave_probability, signal.cart_abandonment_probability)


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([{"event_id": "e"}, {"event_id": "e"}], "duplicate"),
        ([{"at_ms": 10 * 60_000}, {"at_ms": 0}], "late"),
        ([{}, {"consent": False}], "no_consent"),
        ([{}, {"event_type": "session_end", "item_id": None}], "ended"),
        ([{}, {"event_type": "identify", "item_id": None, "anonymous_id": "cookie"}], "identified"),
    ],
)
async def test_every_input_has_exactly_one_record_with_its_status(
    worker: Any, events: list[dict[str, Any]], status: str
) -> None:
    """Whatever becomes of an input, `recommendations` has one record with its offset and status, and it is counted."""
    for event in events:
        records = await worker.click("v1", **event)
    (recommendation,) = [wire.decode_recommendation_set(r.value) for r in records if r.topic == "recommendations"]
    assert (recommendation.id, recommendation.status) == ("clickstream-0-1", status)
    assert not [r for r in records if r.topic == "intent-signals"]
    assert worker.count("insession_events_total", status=status) == 1


@pytest.mark.parametrize(("status", "has_items"), [("late", True), ("no_consent", True), ("duplicate", False)])
async def test_cheap_statuses_are_answered_from_an_impersonal_tier(worker: Any, status: str, has_items: bool) -> None:
    """Late events and shoppers without consent get what is the same for everybody; duplicates get nothing."""
    await worker.click("other", item_id="hot")
    await worker.click("v1", 10 * 60_000, event_id="e", item_id="i0")
    change = {"late": {"at_ms": 0}, "no_consent": {"consent": False}, "duplicate": {"event_id": "e"}}[status]
    (answer,) = await worker.click("v1", **change)
    recommendation = wire.decode_recommendation_set(answer.value)
    assert recommendation.status == status
    assert bool(recommendation.items) == has_items
    assert recommendation.tier == ("popular" if has_items else None)


async def test_consent_that_is_withdrawn_forgets_what_was_kept(worker: Any) -> None:
    """Nothing of it is left but what a replay must find, without a session end; consent again begins anew."""
    for n in range(3):
        await worker.click("eve", n, event_type="purchase", consent=True)
    (answer,) = await worker.click("eve", 3, consent=False)
    assert wire.decode_recommendation_set(answer.value).status == "no_consent"
    left = decode_state(worker.store.states[b"eve"])
    assert left == VisitorState({"clickstream": 3}, "no_consent", START_MS + 2)
    again = await worker.click("eve", 3, consent=False, offset=3)
    assert [record.topic for record in again] == ["recommendations"]
    (_, signal) = await worker.click("eve", 4)
    assert wire.decode_intent_signal(signal.value).prefix_length == 1


async def test_what_consent_leaves_of_a_visitor_goes_with_a_tombstone_once_it_is_committed(worker: Any) -> None:
    """A crash before the commit brings the inputs back, and they must not make a visitor anew."""
    await worker.click("eve", 0)
    await worker.click("eve", 1, consent=False)
    for committed, left in ((1, [b"eve"]), (2, [])):
        position = InputPosition("clickstream", 0, committed)
        worker.states.close_due(worker.pipeline, InputPosition("control", 0, 0), START_MS, [position])
        assert list(worker.store.states) == left


async def test_withdrawn_consent_lets_go_of_the_answer_before_it(worker: Any) -> None:
    """What comes with consent again is not held against it."""
    for n, consent in enumerate((True, False, True)):
        records = await worker.click("eve", n, consent=consent)
    assert "recommendation-outcomes" not in {record.topic for record in records}


async def test_a_consent_that_was_never_given_writes_a_tombstone_all_the_same(worker: Any) -> None:
    """The table may have lost the key before the changelog did."""
    step = worker.decide("eve", consent=False)
    assert (step.write.key, step.write.value) == (b"eve", None)
    await step.answer()


async def test_bot_is_marked_logged_once_and_gets_a_cheap_answer(
    worker_of: Callable[..., Any], logged: list[dict[str, Any]]
) -> None:
    """A visitor over the limit keeps its state, and only the marking is logged."""
    worker = worker_of(bot_burst_events=2)
    for n in range(5):
        records = await worker.click("v1", n)
    assert wire.decode_recommendation_set(records[0].value).status == "bot"
    assert worker.count("insession_events_total", status="bot") == 3
    assert [entry["event"] for entry in logged].count("session_marked_as_bot") == 1


async def test_late_event_is_logged_with_its_position(worker: Any, logged: list[dict[str, Any]]) -> None:
    """A dropped event is one log line with topic, partition and offset."""
    await worker.click("v1", 10 * 60_000)
    await worker.click("v1", 0)
    (entry,) = [entry for entry in logged if entry["event"] == "event_dropped"]
    assert (entry["status"], entry["topic"], entry["partition"], entry["offset"]) == ("late", "clickstream", 0, 1)


async def test_closed_session_leaves_a_session_end_under_a_pseudonym(worker: Any) -> None:
    """The session end is keyed by a keyed hash; the visitor id is nowhere in it."""
    await worker.click("visitor-1", 0)
    *_, end = await worker.click("visitor-1", GAP_MS + 1)
    summary = wire.decode_session_summary(end.value)
    assert end.topic == "session-ends"
    assert end.key == summary.visitor_key.encode()
    assert b"visitor-1" not in end.value
    assert summary.id == f"clickstream-0-1-{summary.visitor_key}"
    assert worker.count("insession_session_ends_total", reason="inactivity") == 1


async def test_replay_of_the_last_offset_gives_the_same_records(worker: Any) -> None:
    """After a crash the last offset is answered again from the same state, with the same ids and session end."""
    await worker.click("v1", 0, item_id="a")
    first = await worker.click("v1", GAP_MS + 1, item_id="b")
    again = await worker.click("v1", GAP_MS + 1, offset=1, item_id="b")
    assert [(r.topic, r.key) for r in again] == [(r.topic, r.key) for r in first]
    assert wire.decode_intent_signal(again[1].value) == wire.decode_intent_signal(first[1].value)
    assert again[2] == first[2]


async def test_replay_of_an_older_offset_is_marked_and_empty(worker: Any) -> None:
    """A newer answer exists: the record says `replayed` and holds no items."""
    await worker.click("v1", 0)
    await worker.click("v1", 1)
    (answer,) = await worker.click("v1", 0, offset=0)
    recommendation = wire.decode_recommendation_set(answer.value)
    assert (recommendation.id, recommendation.status, recommendation.items) == ("clickstream-0-0", "replayed", [])


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [(b"v1", b"\xff", "undecodable"), (b"v2", b"{}", "invalid_field")],
)
async def test_unusable_record_is_dead_lettered_with_its_bytes(
    worker: Any, logged: list[dict[str, Any]], key: bytes, value: bytes | None, reason: str
) -> None:
    """The dead letter has the original key, value and headers, the reason and the position; counted and logged once."""
    (letter,) = await worker.feed(key, value)
    headers = dict(letter.headers)
    assert (letter.topic, letter.key, letter.value, headers["h"]) == ("clickstream-dlq", key, value, b"1")
    assert headers[HEADER_PREFIX + "reason"] == reason.encode()
    assert headers[HEADER_PREFIX + "id"] == b"clickstream-0-0"
    assert worker.count("insession_dead_letters_total", reason=reason) == 1
    assert [entry["reason"] for entry in logged if entry["event"] == "dead_letter"] == [reason]
    assert not worker.store.states


async def test_an_endless_reason_is_cut_in_the_log(worker: Any, logged: list[dict[str, Any]]) -> None:
    """What a record holds can be in the reason, and a broken producer would fill the disk with it."""
    await worker.click("v1", consent="x" * 10_000)
    (entry,) = [entry for entry in logged if entry["event"] == "dead_letter"]
    assert len(entry["detail"]) <= MAX_DETAIL_LENGTH


async def test_bug_in_a_decision_is_dead_lettered(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that trips over a bug of ours goes to the dead letters, its state untouched; the partition goes on."""
    monkeypatch.setattr("streams.sessions.sessionizer._act_hash", lambda _: 1 / 0)
    (letter,) = await worker.click("v1", event_id="e")
    assert dict(letter.headers)[HEADER_PREFIX + "reason"] == b"internal_error"
    assert not worker.store.states
    answer, _ = await worker.click("v1")
    assert wire.decode_recommendation_set(answer.value).status == "answered"


async def test_bug_in_reading_a_record_is_dead_lettered(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a reader did not foresee in a record costs that record, not the partition."""
    monkeypatch.setattr("schemas.click_reader.problem", lambda *_: 1 / 0)
    (letter,) = await worker.click("v1")
    assert dict(letter.headers)[HEADER_PREFIX + "reason"] == b"internal_error"
    monkeypatch.undo()
    answer, _ = await worker.click("v1")
    assert wire.decode_recommendation_set(answer.value).status == "answered"


async def test_a_state_that_cannot_be_cut_to_its_budget_is_not_written(worker: Any) -> None:
    """It may be so after an upgrade from wider ids; its click is dead-lettered, and the state stays."""
    await worker.click("v1", session_id="s")
    state = decode_state(worker.store.states[b"v1"])
    closed = ClosedSession(
        InputPosition("clickstream", 0, 0), "inactivity", replace(state.session, location="l" * 70_000)
    )
    worker.store.states[b"v1"] = stored = encode_state(replace(state, closings=(closed,)), due_ms=0)
    (letter,) = await worker.click("v1", 1)
    assert dict(letter.headers)[HEADER_PREFIX + "reason"] == b"too_large"
    assert worker.store.states == {b"v1": stored}


async def test_bug_in_an_answer_keeps_the_session_end(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no answer can be written the input is dead-lettered, but the session that it closed is not lost."""
    await worker.click("v1", 0)
    monkeypatch.setattr("agents.clicks.answered.RecommendationSet", lambda **_: 1 / 0)
    letter, end = await worker.click("v1", GAP_MS + 1)
    assert (letter.topic, end.topic) == ("clickstream-dlq", "session-ends")


async def test_unreadable_state_is_not_touched(worker: Any) -> None:
    """A state of another version stops the worker instead of resetting the visitor."""
    worker.store.states[b"v1"] = b"\x09" + bytes(30)
    with pytest.raises(Exception, match="run the version that wrote it"):
        await worker.click("v1")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b'{"kind": "dance"}',
        b'{"kind": "tick"}',
        b'{"kind": "erase", "visitor_id": "__faust\\u0000offset__"}',
    ],
)
def test_control_record_that_is_none_is_rejected(worker: Any, value: bytes) -> None:
    """Anything but a tick or an erasure on the control topic is a dead letter."""
    record = InputRecord(InputPosition("session-control", 0, 0), None, value, 0)
    assert isinstance(worker.pipeline.control(record), Rejection)


async def test_answers_do_not_hold_what_was_bought(worker: Any) -> None:
    """An item that the visitor bought is not recommended to that visitor again."""
    await worker.click("other", item_id="x")
    records = await worker.click("v1", event_type="purchase", item_id="x")
    items = [item.item_id for item in wire.decode_recommendation_set(records[0].value).items]
    assert "x" not in items


async def test_clock_that_runs_ahead_does_not_empty_what_is_popular(worker: Any) -> None:
    """A click from the far future counts as of now: what others click at stays popular."""
    await worker.click("v1", item_id="a")
    event = {"visitor_id": "v2", "event_type": "view", "event_time": START_MS + 300 * 24 * 3_600_000, "item_id": "b"}
    await worker.feed(b"v2", json.dumps(event).encode())
    for number in range(5):  # what is popular is ranked anew every few clicks
        records = await worker.click(f"v3{number}", item_id="c")
    items = {item.item_id for item in wire.decode_recommendation_set(records[0].value).items}
    assert items == {"a", "b", "c"}


def outcomes_in(records: list[Any]) -> list[Any]:
    """Read the outcomes among the records of one input."""
    return [wire.decode_recommendation_outcome(r.value) for r in records if r.topic == "recommendation-outcomes"]


async def test_a_click_leaves_an_outcome_of_the_answer_before_it(worker: Any) -> None:
    """On the partition and under the key of the input, with the ids of both inputs, counted by tier and place."""
    await worker.click("other", item_id="x")
    await worker.click("v1", 0, item_id="a", experiment="b-arm")
    records = await worker.click("v1", 700, item_id="x")
    (record,) = [r for r in records if r.topic == "recommendation-outcomes"]
    (outcome,) = outcomes_in(records)
    assert (record.key, record.partition) == (b"v1", 0)
    assert (outcome.id, outcome.recommendation_id) == ("clickstream-0-2", "clickstream-0-1")
    assert (outcome.event_id, outcome.session_id) == ("clickstream-0-2", "clickstream-0-1")
    assert (outcome.action, outcome.item_id, outcome.position, outcome.delay_ms) == ("click", "x", 1, 700)
    assert (outcome.tier, outcome.model_version, outcome.experiment) == ("popular", None, "b-arm")
    labels = {"action": "click", "tier": "popular"}
    assert worker.count("insession_outcomes_total", **labels, position="1") == 1
    assert worker.count("insession_outcome_reciprocal_rank_total", **labels) == 1


async def test_an_answer_is_asked_beside_the_list_before_it_and_what_stays_is_counted(
    worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the open session, as far as it was there before the click; nothing is kept of an answer to nobody."""
    lists = iter([["a", "b"], ["b", "c"], ["b", "c"]])
    asked = []

    async def answer(_self: Recommender, request: AnswerRequest) -> Answer:
        asked.append(list(request.before))
        return Answer([RecommendedItem(ItemId(item), 1.0) for item in next(lists)], "knn")

    monkeypatch.setattr(Recommender, "answer", answer)
    for at_ms in (0, 10):
        await worker.click("v1", at_ms)
    assert asked == [[], ["a", "b"]]
    assert worker.count("insession_list_kept_ratio_count") == worker.count("insession_list_overlap_ratio_count") == 1
    assert worker.count("insession_list_kept_ratio_sum") == 0.5
    await worker.click("v1", 100_000_000)
    assert asked[-1] == []


async def test_an_order_of_another_topic_names_the_answer_on_the_clickstream(worker: Any) -> None:
    """Each topic is read by its own mapping, one session holds both, and offsets alone do not tell answers apart."""
    await worker.click("other", item_id="x")
    await worker.click("v1", 0, item_id="a", offset=7)
    value = b'{"visitor_id": "v1", "event_time": %d, "sku": "x"}' % (START_MS + 9)
    records = await worker.feed(b"v1", value, offset=3, time_ms=START_MS + 9, topic="orders")
    (outcome,) = outcomes_in(records)
    assert (outcome.id, outcome.recommendation_id) == ("orders-0-3", "clickstream-0-7")
    assert (outcome.action, outcome.session_id) == ("purchase", "clickstream-0-7")
    assert wire.decode_intent_signal(records[1].value).prefix_length == 2
    (answer,) = await worker.click("v1", 0, item_id="a", offset=7)
    assert wire.decode_recommendation_set(answer.value).status == "replayed"  # the order was answered after it
    assert outcomes_in(await worker.feed(b"v1", value, offset=3, time_ms=START_MS + 9, topic="orders")) == [outcome]


async def test_an_answer_that_is_not_there_yet_has_no_outcome(worker: Any) -> None:
    """Whoever clicks before the answer is ready has not seen it; the click after that has."""
    first = worker.decide("v1", 0, item_id="a")
    second = worker.decide("v1", 1, item_id="a")
    assert outcomes_in(await second.answer()) == []
    await first.answer()
    (outcome,) = outcomes_in(await worker.click("v1", 2, item_id="a"))
    assert outcome.recommendation_id == "clickstream-0-1"


async def test_a_replay_of_the_last_offset_repeats_its_outcome(worker: Any) -> None:
    """A crash between state and output loses no outcome: the state knows what was said, and memory is empty."""
    await worker.click("v1", 0, item_id="a")
    first = outcomes_in(await worker.click("v1", 1, item_id="a"))
    worker.states.open_partition(0, ())
    assert outcomes_in(await worker.click("v1", 1, item_id="a", offset=1)) == first
    assert len(first) == 1


async def test_a_crash_forgets_the_answer_that_no_event_had_followed(worker: Any) -> None:
    """The next event is held against an older answer, if there is one in the state, and never against a wrong one."""
    await worker.click("v1", 0, item_id="a")
    await worker.click("v1", 1, item_id="a")
    worker.states.open_partition(0, ())
    (outcome,) = outcomes_in(await worker.click("v1", 2, item_id="a"))
    assert outcome.recommendation_id == "clickstream-0-0"


async def test_an_erased_visitor_has_no_outcome(worker: Any) -> None:
    """Nothing is known any more of what was shown."""
    await worker.click("v1", 0, item_id="a", session_id="s")
    worker.states.drop(0, b"v1")
    assert outcomes_in(await worker.click("v1", 1, item_id="a", session_id="s")) == []


async def test_the_first_view_of_an_item_in_a_session_is_told_to_count(worker: Any) -> None:
    """With its time and place; the record of a replay repeats it, those of other inputs hold nothing."""
    answers = [
        (await worker.click("v1", n, item_id=item, location="nl/ams"))[0] for n, item in enumerate(("a", "a", "b"))
    ]
    told = [wire.decode_recommendation_set(answer.value).counts for answer in answers]
    assert told == [
        [CountedView(ItemId("a"), START_MS, "nl/ams")],
        [],
        [CountedView(ItemId("b"), START_MS + 2, "nl/ams")],
    ]
    (again,) = await worker.click("v1", 0, offset=0, item_id="a", location="nl/ams")
    replayed = wire.decode_recommendation_set(again.value)
    assert (replayed.status, replayed.counts) == ("replayed", told[0])


async def test_a_view_from_the_future_counts_now(worker: Any) -> None:
    """A clock that runs ahead must not outweigh all others for as long."""
    value = b'{"visitor_id": "v1", "event_type": "view", "event_time": %d, "item_id": "a"}' % (START_MS + 86_400_000)
    (answer, _) = await worker.feed(b"v1", value, time_ms=START_MS)
    (counted,) = wire.decode_recommendation_set(answer.value).counts
    assert counted.time_ms == START_MS
