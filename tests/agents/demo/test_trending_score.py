"""What lies on the topic `trending`."""

from datetime import UTC, datetime

from agents.demo.trending_score import SHOWN, TrendingScore
from schemas.ids import ItemId
from schemas.records import TRENDING_KEY, Trending, TrendingItem

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def _trending(items: str, support: float = 1.0) -> Trending:
    return Trending(
        items=[TrendingItem(ItemId(item), 0.1, 0.0, 9) for item in items],
        support_short=support,
        support_long=1.0,
        half_life_short_seconds=1,
        half_life_long_seconds=1,
        half_life_seconds=1,
        strength=1.0,
        event_time=NOW,
        updated_at=NOW,
    )


def test_the_latest_lists_count_and_the_age_is_that_of_everywhere() -> None:
    """Shown are the first items everywhere, and those of the place with the most views."""
    score = TrendingScore()
    assert score.report().age_seconds is None
    score.trended("de", _trending("xy", support=5.0), 900)
    score.trended("nl", _trending("y", support=50.0), 1_000)
    score.trended(TRENDING_KEY, _trending("abcde"), 2_000)
    score.trended("gone", _trending("z", support=99.0), 2_000)
    score.trended("gone", None, 2_100)
    score.passed(5_000)
    report = score.report()
    assert (report.locations, report.items, report.age_seconds) == (2, 5, 3.0)
    assert report.first == {TRENDING_KEY: tuple("abcde"[:SHOWN]), "nl": ("y",)}
