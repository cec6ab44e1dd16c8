import json
import signal
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from agents.upkeep.changelog_check import accept_changelog
from schemas import wire
from schemas.events import Erase
from schemas.ids import VisitorId
from streams.cluster.topics import Topic, TopicSpec
from tests.builders.clicks import click
from tests.kafka.deployment import NO_TICKS, Deploy, NewRecord, Say
from tests.kafka.ledger import error_headers
from tests.kafka.shop import DAY_MS, Shop, live_clicks

pytestmark = pytest.mark.kafka

SHORT_SESSIONS = {
    "INSESSION_SESSIONS__INACTIVITY_GAP": "2",
    "INSESSION_SESSIONS__GRACE_PERIOD": "0.5",
    "INSESSION_KAFKA__TICK_INTERVAL": "0.2",
}


def test_every_click_is_answered_or_dead_lettered_in_order(deploy: Deploy, say: Say) -> None:
    """From a log with everything in it: one record an offset that is for us, in order, by the rules."""
    deployment = deploy(**NO_TICKS)
    deployment.traffic(Shop(seed=1, visitors=20).clicks()).write(2000)
    worker = deployment.worker()
    worker.wait_until_ready()
    deployment.wait_until_committed(worker)
    assert (worker.page("/healthz").status, worker.page("/readyz").status) == (200, 200)
    counters = ("insession_events_total", "insession_dead_letters_total", "insession_ignored_records_total")
    counted = sum(worker.metric(name) for name in counters)
    assert worker.end(signal.SIGTERM) == 0
    ledger = deployment.ledger()
    findings = ledger.check()
    say(findings)
    findings.assert_clean()
    assert (findings.duplicates, counted) == (0, 2000)
    assert set(findings.statuses) >= {"answered", "duplicate", "late", "bot", "no_consent", "ended"}
    assert {record.tier for record in ledger.recommendations if record.items} == {"popular"}
    assert ledger.unlike_local_tables(worker.datadir) == []
    lines = [json.loads(line) for line in worker.log_text().splitlines()]  # from the first on
    assert "error" not in {line["level"] for line in lines}


def test_outcomes_tell_where_the_next_click_was_in_the_answer(deploy: Deploy, say: Say) -> None:
    """Read back from their topic: one a click, cart or purchase after an answer, as the two records say it."""
    deployment = deploy(**NO_TICKS)
    worker = deployment.worker()
    worker.wait_until_ready()
    deployment.traffic(Shop(seed=6, visitors=20).clicks()).write(1000)
    deployment.wait_until_committed(worker)
    counted = worker.metric("insession_outcomes_total")
    assert worker.end(signal.SIGTERM) == 0
    ledger = deployment.ledger()
    ledger.check().assert_clean()
    outcomes, answers = ledger.outcomes(), {record.id: record for record in ledger.recommendations}
    assert len(ledger.records(Topic.OUTCOMES)) == len(outcomes) == counted > 100
    assert {outcome.action for outcome in outcomes} == {"click", "cart", "purchase"}
    for outcome in outcomes:
        shown, action = answers[outcome.recommendation_id], answers[outcome.id]
        items = [item.item_id for item in shown.items]
        assert outcome.position == (items.index(outcome.item_id) + 1 if outcome.item_id in items else None)
        assert (outcome.session_id, outcome.tier) == (shown.session_id, shown.tier) == (action.session_id, "popular")
        assert outcome.delay_ms == (action.event_time - shown.event_time) // timedelta(milliseconds=1)
    say(f"{len(outcomes)} outcomes, {sum(outcome.position is not None for outcome in outcomes)} of a shown item")


def test_many_sessions_that_nobody_clicks_in_any_more_end_within_one_tick_interval(deploy: Deploy) -> None:
    """A tick ends a hundred, and what it leaves over does not wait for the next interval."""
    deployment = deploy(partitions=1, **{**SHORT_SESSIONS, "INSESSION_KAFKA__TICK_INTERVAL": "12"})
    worker = deployment.worker()
    worker.wait_until_ready()
    deployment.traffic(live_clicks(seed=1, visitors=100_000)).write(250)
    worker.wait_until(lambda: worker.metric("insession_session_ends_total") >= 240, "the sessions ended")
    times_ms = [record.time_ms for record in deployment.ledger().records(Topic.SESSION_ENDS)]
    assert max(times_ms) - min(times_ms) < 12_000


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "ctrl-c"])
def test_a_stop_in_the_middle_commits_all_that_was_answered(deploy: Deploy, say: Say, stop: signal.Signals) -> None:
    """The worker ends with 0, and the next one goes on after it without a single duplicate."""
    deployment, events = deploy(**NO_TICKS), 12_000  # for some seconds of a worker's work
    deployment.traffic(Shop(seed=2, visitors=200).clicks()).write(events)
    first = deployment.worker()
    first.wait_until(lambda: first.metric("insession_events_total") > 200, "it answered some clicks")
    assert first.end(stop) == 0
    assert 200 < len(deployment.ledger().recommendations) < events - 100
    second = deployment.worker()
    deployment.wait_until_committed(second)
    assert second.end(signal.SIGTERM) == 0
    findings = deployment.ledger().check()
    say(findings)
    findings.assert_clean()
    assert findings.duplicates == 0


def bad_records() -> Iterator[tuple[str, NewRecord]]:
    """Yield what a broken shop may send, each with the reason for which it is dead-lettered."""
    origin = (("trace", b"\x00\xff"), ("trace", b"twice"))
    good = click("good").value
    assert good is not None
    yield "undecodable", NewRecord(b"good", b"\xff\xfe\x00", origin)
    yield "undecodable", NewRecord(b"good", b'{"other": ' + b"[" * 60_000)
    yield "undecodable", NewRecord(b"good", b"")
    yield "undecodable", NewRecord(b"good", b'"a string"')
    yield "invalid_field", NewRecord(b"good", b"7")
    yield "invalid_field", NewRecord(b"good", good.replace(b'"view"', b"[7]"))
    yield "invalid_field", NewRecord(b"good", b'{"visitor_id": "good", "event_type": "view"}')
    yield "missing_item", NewRecord(b"good", good.replace(b'"item_id"', b'"item"'))
    yield "absurd_time", click("good", 0)
    yield "invalid_field", click("good", 10**20)
    yield "key_mismatch", NewRecord(b"else", good, partition=0)
    yield "key_mismatch", NewRecord(None, good, partition=0)
    yield "too_large", NewRecord(b"good", b"x" * 70_000, origin)


def test_bad_input_is_dead_lettered_as_it_came_and_the_partition_goes_on(deploy: Deploy) -> None:
    """Original key, bytes and headers, plus the reason; the click behind the bad records is answered."""
    deployment = deploy(partitions=1)
    bad = list(bad_records())
    giant = NewRecord(b"good", b"g" * 1_048_000)
    deployment.write(Topic.CLICKSTREAM, [*(record for _, record in bad), giant, click("good")])
    worker = deployment.worker()
    deployment.wait_until_committed(worker)
    ledger = deployment.ledger()
    *letters, giant_letter = ledger.dead_letters()
    originals = [
        NewRecord(letter.key, letter.value, tuple(h for h in letter.headers if not h[0].startswith("__insession.")))
        for letter in letters
    ]
    assert originals == [record._replace(partition=-1) for _, record in bad]
    assert [error_headers(letter)["reason"] for letter in letters] == [reason for reason, _ in bad]
    assert error_headers(giant_letter)["truncated_from_bytes"] == str(4 + 1_048_000)
    (answer,) = ledger.recommendations
    assert (answer.status, answer.visitor_id) == ("answered", "good")
    assert worker.metric("insession_dead_letters_total") == len(bad) + 1


def test_a_missing_topic_stops_the_worker_at_once(deploy: Deploy) -> None:
    """The worker ends with 1 and names the topic and the remedy, without a traceback."""
    deployment = deploy()
    name = deployment.delete(Topic.SESSION_ENDS)
    worker = deployment.worker()
    assert worker.wait() == 1
    assert f"{name} is missing: run `insession topics create`" in worker.log_text()
    assert "Traceback" not in worker.log_text()


def test_a_topic_of_another_layout_stops_the_worker_at_once(deploy: Deploy) -> None:
    """Fewer partitions than the settings say: the worker ends with 1 and names the topic and both counts."""
    deployment = deploy(partitions=4)
    name = deployment.delete(Topic.SESSION_CONTROL)
    deployment.create(TopicSpec(name, 2, 1, {"cleanup.policy": "delete", "min.insync.replicas": "1"}))
    worker = deployment.worker()
    assert worker.wait() == 1
    assert f"{name} has 2 partitions and should have 4" in worker.log_text()


def test_ticks_end_the_sessions_of_visitors_who_left(deploy: Deploy) -> None:
    """Nobody clicks any more: each session ends once, by inactivity, and the next click opens another one."""
    deployment = deploy(**SHORT_SESSIONS)
    worker = deployment.worker()
    worker.wait_until_ready()
    deployment.write(Topic.CLICKSTREAM, [click(f"v{number}") for number in range(20)])
    worker.wait_until(lambda: len(deployment.ledger().session_ends()) >= 20, "the sessions ended")
    deployment.write(Topic.CLICKSTREAM, [click("v3")])
    worker.wait_until(lambda: len(deployment.ledger().session_ends()) >= 21, "the second session ended")
    assert worker.end(signal.SIGTERM) == 0
    ledger = deployment.ledger()
    ends = ledger.session_ends()
    assert len({end.id for end in ends}) == len({end.session_id for end in ends}) == 21
    assert {(end.end_reason, end.event_count) for end in ends} == {("inactivity", 1)}
    assert {record.status for record in ledger.recommendations} == {"answered"}


def test_a_shop_that_writes_in_transactions_owes_nothing_behind_the_last_marker(deploy: Deploy) -> None:
    """The marker at the end of a partition is no record: the worker has read all, and ticks end the sessions."""
    deployment = deploy(partitions=1, **SHORT_SESSIONS)
    worker = deployment.worker()
    worker.wait_until_ready()
    for number in range(3):
        deployment.write(Topic.CLICKSTREAM, [click(f"v{number}"), click(f"v{number}")], transaction="shop")
    worker.wait_until(lambda: len(deployment.ledger().session_ends()) >= 3, "the sessions ended")
    worker.wait_until(lambda: worker.metric("insession_consumer_lag_records") == 0, "nothing is owed")
    assert worker.end(signal.SIGTERM) == 0
    assert [record.status for record in deployment.ledger().recommendations] == ["answered"] * 6


def test_only_what_is_committed_is_answered(deploy: Deploy) -> None:
    """Aborted clicks never are, open ones when they are committed; behind an open beginning nothing is owed."""
    deployment = deploy(partitions=1, **SHORT_SESSIONS)
    worker = deployment.worker()
    worker.wait_until_ready()
    shop = deployment.producer(transaction="shop")
    shop.begin_transaction()
    deployment.produce(shop, Topic.CLICKSTREAM, [click("aborted"), click("aborted")])
    deployment.produce(shop, Topic.CATALOG, [NewRecord(b"aborted", b'{"item_id": "aborted"}')])
    shop.abort_transaction()
    deployment.write(Topic.CLICKSTREAM, [click("first")])
    shop.begin_transaction()
    deployment.produce(shop, Topic.CLICKSTREAM, [click("open")])
    deployment.write(Topic.CLICKSTREAM, [click("behind")])
    worker.wait_until(lambda: len(deployment.ledger().session_ends()) == 1, "a tick ended the first session")
    worker.wait_until(lambda: worker.metric("insession_consumer_lag_records") == 0, "nothing is owed")
    assert [record.visitor_id for record in deployment.ledger().recommendations] == ["first"]
    shop.commit_transaction()
    worker.wait_until(lambda: len(deployment.ledger().session_ends()) == 3, "the others ended, too")
    assert worker.metric("insession_catalog_items") == 0
    assert worker.end(signal.SIGTERM) == 0
    assert [record.visitor_id for record in deployment.ledger().recommendations] == ["first", "open", "behind"]


def test_an_open_transaction_behind_the_commit_is_no_other_topic(deploy: Deploy) -> None:
    """Whoever has answered what was not committed goes on where it stood."""
    deployment = deploy(partitions=1, **NO_TICKS)
    shop = deployment.producer(transaction="shop")
    shop.begin_transaction()
    deployment.produce(shop, Topic.CLICKSTREAM, [click("answered")])
    deployment.write(Topic.CLICKSTREAM, [click("answered")])
    deployment.commit(Topic.CLICKSTREAM, 2)
    accept_changelog(deployment.settings)
    worker = deployment.worker()
    worker.wait_until_ready()
    shop.commit_transaction()
    deployment.write(Topic.CLICKSTREAM, [click("new")])
    worker.wait_until(lambda: worker.metric("insession_events_total") == 1, "it answered the new one")
    assert worker.end(signal.SIGTERM) == 0
    assert [record.visitor_id for record in deployment.ledger().recommendations] == ["new"]


def test_a_ten_year_old_log_has_no_late_event_and_is_not_cut_by_ticks(deploy: Deploy) -> None:
    """Ticks wait until the log is read: a session of steady clicks ends once, whole, however slowly it was read."""
    deployment = deploy(**SHORT_SESSIONS)
    start_ms = time.time_ns() // 1_000_000 - 3650 * DAY_MS
    log = [click(f"v{visitor}", start_ms + 1000 * step) for step in range(100) for visitor in range(20)]
    deployment.write(Topic.CLICKSTREAM, log)
    worker = deployment.worker()
    worker.wait_until(lambda: len(deployment.ledger().session_ends()) >= 20, "the sessions ended")
    assert worker.end(signal.SIGTERM) == 0
    ledger = deployment.ledger()
    assert {record.status for record in ledger.recommendations} == {"answered"}
    assert [end.event_count for end in ledger.session_ends()] == [100] * 20


def test_an_erased_visitor_leaves_a_tombstone_and_starts_anew(deploy: Deploy) -> None:
    """The changelog holds no state of the visitor any more, the others keep theirs, and the next click is a first."""
    deployment = deploy(partitions=2, **NO_TICKS)
    worker = deployment.worker()
    deployment.write(Topic.CLICKSTREAM, [click(visitor) for visitor in ("gone", "stays") for _ in range(3)])
    deployment.wait_until_committed(worker)
    erase = wire.encode(Erase(visitor_id=VisitorId("gone")))
    deployment.write(Topic.SESSION_CONTROL, [NewRecord(None, erase, partition=partition) for partition in range(2)])
    deployment.wait_until_committed(worker)
    assert {key for _, key in deployment.ledger().changelog()} == {b"stays"}
    deployment.write(Topic.CLICKSTREAM, [click("gone"), click("stays")])
    deployment.wait_until_committed(worker)
    lengths = {}
    for record in deployment.ledger().records(Topic.INTENT_SIGNALS):
        signal_record = wire.decode_intent_signal(record.value or b"")
        lengths[signal_record.visitor_id] = signal_record.prefix_length
    assert lengths == {"gone": 1, "stays": 4}
