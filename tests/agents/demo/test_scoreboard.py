"""All that is counted while the demo runs."""

import pytest

from agents.demo.hit_rate import PopularItems
from agents.demo.scoreboard import Place, Scoreboard, SentInput
from tests.agents.demo.builders import answer, click, sent, signal


@pytest.fixture
def board() -> Scoreboard:
    """Return an empty scoreboard."""
    return Scoreboard(PopularItems({}))


def test_a_place_is_read_from_the_end_of_a_record_id() -> None:
    """A topic's name may hold dashes and digits."""
    assert Place.of("shop-2-clickstream-3-41") == Place(3, 41)


def test_records_count_by_status_and_answers_by_tier(board: Scoreboard) -> None:
    """A record without items has no tier; a lower tier says why."""
    for offset in range(3):
        board.sent(sent(place=Place(0, offset)))
    board.recommended(answer("x", place=Place(0, 0)), 1_010, 1_000)
    board.recommended(answer("x", place=Place(0, 1), tier="knn"), 1_010, 1_000)
    board.recommended(answer(place=Place(0, 2), status="duplicate"), 1_010, 1_000)
    report = board.report()
    assert report.records == {"answered": 2, "duplicate": 1}
    assert report.answers_by_tier == {"model": 1, "knn": 1}
    assert report.fallback_reasons == {"deadline": 1}
    assert report.lost == 0


def test_a_repeated_record_counts_as_a_duplicate_id_only(board: Scoreboard) -> None:
    """At least once on the wire, once in the figures."""
    board.sent(sent())
    board.recommended(answer("x"), 1_010, 1_000)
    board.recommended(answer("x"), 9_999, 1_000)
    report = board.report()
    assert (report.duplicate_ids, report.records, report.latency_seconds.p99) == (1, {"answered": 1}, 0.01)


def test_a_dead_letter_is_a_record_of_its_input(board: Scoreboard) -> None:
    """Not lost, not answered."""
    board.sent(sent())
    board.dead_lettered(Place(0, 0))
    report = board.report()
    assert (report.dead_lettered, report.lost, report.records) == (1, 0, {})


def test_latency_is_from_the_record_timestamp_to_the_receipt(board: Scoreboard) -> None:
    """In seconds, with percentiles over all records."""
    for offset in range(101):
        board.sent(sent(place=Place(0, offset), time_ms=1_000))
        board.recommended(answer("x", place=Place(0, offset)), 1_000 + offset, 1_000)
    latency = board.report().latency_seconds
    assert (latency.p50, latency.p95, latency.p99) == pytest.approx((0.05, 0.095, 0.099))


def test_the_rate_is_over_the_time_from_the_first_input_to_the_last_record(board: Scoreboard) -> None:
    """Three records in two seconds."""
    for offset in range(3):
        board.sent(sent(place=Place(0, offset), time_ms=1_000 + 500 * offset))
        board.recommended(answer("x", place=Place(0, offset)), 3_000, 1_000)
    assert board.report().events_per_second == 1.5


def test_the_oldest_waiting_input_is_the_first_without_a_record(board: Scoreboard) -> None:
    """Answered ones do not wait."""
    board.sent(sent(place=Place(0, 0), time_ms=1))
    board.sent(sent(place=Place(1, 0), time_ms=2))
    assert board.oldest_waiting_ms == 1
    board.recommended(answer("x", place=Place(0, 0)), 5, 1_000)
    assert board.oldest_waiting_ms == 2
    board.recommended(answer("x", place=Place(1, 0)), 5, 1_000)
    assert board.oldest_waiting_ms is None


def test_intent_is_held_against_the_truth_once(board: Scoreboard) -> None:
    """A repeated signal and a signal without a probability score nothing."""
    board.sent(sent(place=Place(0, 0), purchase_follows=True))
    board.sent(sent(place=Place(0, 1), purchase_follows=False))
    board.signalled(signal(0.5, Place(0, 0)))
    board.signalled(signal(0.5, Place(0, 0)))
    board.signalled(signal(None, Place(0, 1)))
    intent = board.report().intent
    assert intent is not None
    assert (intent.signals, intent.brier) == (1, 0.25)


def test_without_truth_there_is_no_intent_report(board: Scoreboard) -> None:
    """A log does not say what would have been."""
    board.sent(sent())
    board.signalled(signal(0.5))
    assert board.report().intent is None


def test_the_lines_of_an_order_are_one_record_and_pages_are_none(board: Scoreboard) -> None:
    """An order's lines are so many interactions; what is not for us is neither lost nor waited for."""
    board.sent(SentInput(Place(0, 0), 1_000, (click("a"), click("b")), None))
    board.sent(SentInput(Place(0, 1), 1_000, (), None))
    assert board.oldest_waiting_ms == 1_000
    board.recommended(answer("x", place=Place(0, 0)), 1_010, 1_000)
    report = board.report()
    assert (report.events_in, report.interactions, report.ignored, report.lost) == (2, 2, 1, 0)
    assert board.oldest_waiting_ms is None
