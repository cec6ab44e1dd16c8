"""What lies on the topic `trending`."""

from agents.demo.trending_score import SHOWN, TrendingScore
from schemas.records import TRENDING_KEY
from tests.agents.demo.builders import trending


def test_the_latest_lists_count_and_the_age_is_that_of_everywhere() -> None:
    """Shown are the first items everywhere, and those of the place with the most views."""
    score = TrendingScore()
    assert score.report().age_seconds is None
    score.trended("de", trending("xy", support=5.0), 900)
    score.trended("nl", trending("y", support=50.0), 1_000)
    score.trended(TRENDING_KEY, trending("abcde"), 2_000)
    score.trended("gone", trending("z", support=99.0), 2_000)
    score.trended("gone", None, 2_100)
    score.passed(5_000)
    report = score.report()
    assert (report.locations, report.items, report.age_seconds) == (2, 5, 3.0)
    assert report.first == {TRENDING_KEY: tuple("abcde"[:SHOWN]), "nl": ("y",)}
