import numpy as np
import pytest
from msgspec.structs import replace

from schemas.ids import ItemId, ItemIndex
from schemas.records import Trending
from session_model.ranking.live_trends import LiveTrends
from session_model.ranking.popularity import Popularity
from tests.builders.trending import told

POPULARITY = Popularity.fit(np.array([1] * 700 + [2] * 100 + [3] * 195 + [4] * 5, np.int32), 5)
"""A thousand clicks: the latest 200 of them are of the items 3 and 4, the latest 30 are, too; 5 has none."""
ALL = np.arange(1, 6, dtype=np.int32)


def index_of(item_id: ItemId) -> ItemIndex | None:
    """Know items by their number."""
    return ItemIndex(int(item_id)) if item_id.isdecimal() else None


def trends(record: Trending) -> list[list[float]]:
    """Return the trends of all items."""
    live = LiveTrends.of(POPULARITY, record, index_of)
    assert live is not None
    return live.trends(ALL).tolist()


def test_trends_are_those_of_a_training_that_went_on_until_now() -> None:
    """Each window has its clicks by the half-life that counts about as many: 200 and 30, of a thousand."""
    record = told((30.0, 200.0, 5_000.0), {"1": (3.0, 100.0, 1.0), "2": (15.0, 50.0, 1.0), "who?": (9.0, 9.0, 9.0)})
    of_200, of_30 = trends(record)
    assert of_200[:2] == pytest.approx([np.log(501 / 701), np.log(251 / 101)])
    assert of_30[:2] == pytest.approx([np.log(101 / 701), np.log(501 / 101)])


def test_what_is_not_told_of_is_viewed_as_usual() -> None:
    """Whatever its trend in training was: that time has passed."""
    of_200, of_30 = trends(told((30.0, 200.0), {"1": (3.0, 100.0)}))
    assert of_200[1:] == of_30[1:] == pytest.approx([0.0] * 4)
    assert POPULARITY.trends[0, 3] > 1


def test_what_rises_is_not_counted_twice() -> None:
    """Views beyond the usual have their own share of an answer; here the item is as usual."""
    record = told((30.0, 200.0), {"1": (3.0, 100.0), "2": (15.0, 50.0)})
    (first, second) = record.items
    rises = replace(record, items=[first, replace(second, rising=0.2)])
    assert [trends(rises)[0][at] for at in (0, 1)] == [trends(record)[0][0], 0.0]


def test_more_views_than_clicks_of_a_window_count_as_so_many() -> None:
    """A busy shop has no half-life that is short enough."""
    of_200, of_30 = trends(told((2_000.0,), {"1": (1_000.0,)}))
    assert (of_200[0], of_30[0]) == pytest.approx((np.log(501 / 701), np.log(501 / 701)))


def test_until_there_are_as_many_views_the_latest_clicks_of_training_are_the_rest() -> None:
    """So an observer that has just begun changes next to nothing."""
    _, of_30 = trends(told((15.0,), {"1": (15.0,)}))
    latest = POPULARITY.recent_counts[1]
    assert of_30[0] == pytest.approx(np.log1p((15 + 0.5 * latest[1]) / 0.03) - np.log(701))
    assert of_30[2] == pytest.approx(np.log1p(0.5 * 195 + 0.5 * latest[3] / 0.03) - np.log(196))
    little = trends(told((1e-5,), {"1": (1e-5,)}))
    assert np.array(little) == pytest.approx(POPULARITY.trends[:, 1:], abs=1e-3)


@pytest.mark.parametrize(
    "record",
    [
        told((), {"1": ()}),
        told((30.0,), {}),
        told((30.0,), {"who?": (3.0,)}),
        told((30.0, 200.0), {"1": (3.0,)}),
        told((0.0, 200.0), {"1": (0.0, 3.0)}),
    ],
    ids=["of a place", "no items", "unknown items", "other half-lives", "nothing of late"],
)
def test_a_record_that_does_not_tell_of_views_renews_nothing(record: Trending) -> None:
    """As of an observer of an earlier version; nor does one with the views of strangers' items alone."""
    assert LiveTrends.of(POPULARITY, record, index_of) is None
