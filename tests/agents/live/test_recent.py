import pytest

from agents.live.recent import MAX_KEPT, RATE_SECONDS, SPAN_SECONDS, Recent


def test_the_summary_is_of_the_last_minute() -> None:
    """Older answers no longer count; the rate is of the last seconds only."""
    recent = Recent()
    recent.add(0.0, 5000.0, "default")
    recent.add(1.0, 10.0, "knn")
    for n in range(20):
        recent.add(SPAN_SECONDS + n / 10, 20.0, "model")
    recent.add(SPAN_SECONDS + 0.9, 20.0, None)
    summary = recent.summary(SPAN_SECONDS + 1.0, watchers=2)
    assert summary.tiers == {"knn": 1, "model": 20}
    assert (summary.p50_ms, summary.watchers) == (20.0, 2)
    assert summary.events_per_second == pytest.approx(21 / RATE_SECONDS)


def test_nothing_has_no_latency() -> None:
    """A shop where nobody clicks is shown as such."""
    summary = Recent().summary(100.0, watchers=1)
    assert (summary.events_per_second, summary.p50_ms, summary.p95_ms, summary.tiers) == (0.0, None, None, {})


def test_percentiles_are_of_all_that_is_kept() -> None:
    """The 50th and the 95th of 1 to 101 ms."""
    recent = Recent()
    for n in range(101):
        recent.add(0.0, 1.0 + n, "model")
    summary = recent.summary(1.0, watchers=1)
    assert (summary.p50_ms, summary.p95_ms) == (51.0, 96.0)


def test_a_busy_worker_keeps_a_bounded_number() -> None:
    """The rate is then over the time that these span."""
    recent = Recent()
    for n in range(MAX_KEPT + 500):
        recent.add(n / 5000, 1.0, "model")
    summary = recent.summary((MAX_KEPT + 500) / 5000, watchers=1)
    assert summary.tiers["model"] == MAX_KEPT
    assert summary.events_per_second == pytest.approx(5000)
