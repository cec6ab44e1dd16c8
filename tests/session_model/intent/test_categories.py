"""Categories: whose sessions buy, told to a session by the others only."""

from math import log
from pathlib import Path

import msgspec
import numpy as np
import pytest

from schemas.ids import ItemId
from schemas.records import CatalogItem
from session_model.data.sessions import Sessions
from session_model.fitting.categories import BLOCKS, HIDDEN_SHARE, PRIOR_BUYERS, learn_categories
from session_model.intent.categories import NO_CATEGORIES, Categories
from tests.session_model.intents import PURCHASE, VIEW, columns


def item(item_id: str, category: str | None) -> CatalogItem:
    """Return of which category an item is."""
    return CatalogItem(item_id=ItemId(item_id), category=category)


def shop(rows: list[tuple[str, bool]]) -> Sessions:
    """Make a session of two views of one item a row, and a purchase where it is asked for."""
    sessions = columns([[VIEW, VIEW, PURCHASE] if buys else [VIEW, VIEW] for _, buys in rows])
    names = sorted({name for name, _ in rows})
    sessions.items[:] = np.repeat([names.index(name) for name, _ in rows], np.diff(sessions.starts))
    sessions.item_ids[:] = [ItemId(name) for name in names]
    return sessions


ROWS = [("tent", True), ("sock", False), ("sock", False), ("what", False), ("tent", False)] * 10
CATALOG = [item("tent", "camping"), item("sock", "clothes"), item("what", None), item("rope", "camping")]


def lift(n_buyers: int, n_sessions: int, rate: float) -> float:
    """Return the log-odds of a category above those of `rate`, with the prior in it."""
    own = (n_buyers + PRIOR_BUYERS) / (n_sessions + PRIOR_BUYERS / rate)
    return log(own / (1 - own)) - log(rate / (1 - rate))


def test_a_lift_is_the_shrunk_log_odds_above_those_of_all_sessions() -> None:
    """Each session counts once a category; an item without one counts for all alone; unclicked items have theirs."""
    learned = learn_categories(CATALOG, shop(ROWS)).for_serving
    assert learned.names == ["camping", "clothes"]
    assert learned.of_item == {"tent": 0, "sock": 1, "rope": 0}
    assert learned.lifts == pytest.approx([lift(10, 20, 1 / 5), lift(0, 20, 1 / 5)])


def test_where_few_buy_few_sessions_tell_nothing() -> None:
    """The prior is so many buyers, not sessions: without any purchase all lifts are 0, by block too."""
    fitted = learn_categories(CATALOG, shop([("tent", False)] * 900 + [("sock", False)] * 100))
    assert fitted.for_serving.lifts == fitted.of_session(0).lifts == [0, 0]
    rare = learn_categories(CATALOG, shop([("tent", False)] * 900 + [("tent", True)] * 5 + [("sock", False)] * 95))
    assert abs(rare.for_serving.lifts[1]) < 0.1


def test_a_session_is_told_nothing_of_its_own_block() -> None:
    """What was bought in it counts for the sessions of the other blocks alone."""
    fitted = learn_categories(CATALOG, shop([("tent", False)] * 30 + [("tent", True)] * 10 + [("sock", True)] * 10))
    assert BLOCKS == 5
    first, last = fitted.of_session(0), fitted.of_session(49)
    assert first.lifts == pytest.approx([lift(10, 30, 1 / 2), lift(10, 10, 1 / 2)])
    assert last.lifts == pytest.approx([lift(10, 40, 1 / 4), 0.0])


def test_each_block_hides_a_few_items() -> None:
    """So that a model learns what to make of an item whose category nobody told; in service none is hidden."""
    many = [item(str(number), "camping") for number in range(2_000)]
    fitted = learn_categories(many, shop(ROWS))
    assert len(fitted.for_serving.of_item) == 2_000
    shown = [set(fitted.of_session(number).of_item) for number in (0, 49)]
    assert all(abs(len(one) - (1 - HIDDEN_SHARE) * 2_000) < 60 for one in shown)
    assert shown[0] != shown[1]


def test_what_the_catalog_tells_later_counts_where_training_knew_nothing() -> None:
    """Of an item that training knew the category stays; of others the last word counts; a new category says nothing."""
    known = Categories(["camping", "clothes"], [0.5, -0.5], {ItemId("tent"): 0})
    told = known.extended([item("tent", "clothes"), item("hat", "clothes"), item("pan", "kitchen"), item("x", None)])
    assert [told.place_of(ItemId(name)) for name in ("tent", "hat", "pan", "x")] == [0, 1, None, None]
    assert told.extended([item("hat", "clothes")]) is told
    moved = told.extended([item("hat", "camping")])
    assert [moved.place_of(ItemId("hat")), moved.extended([item("hat", "kitchen")]).place_of(ItemId("hat"))] == [
        0,
        None,
    ]
    assert known.extended([item("pan", "kitchen")]) is known


def test_without_categories_in_the_catalog_nothing_is_known() -> None:
    """Neither for a session of training nor for one to come."""
    for catalog in ([], [item("tent", None)]):
        learned = learn_categories(catalog, shop(ROWS))
        assert learned.for_serving is learned.of_session(7) is NO_CATEGORIES


def test_what_is_written_is_read_and_nonsense_is_refused(tmp_path: Path) -> None:
    """To the last digit; a place outside the names is no category."""
    learned, path = learn_categories(CATALOG, shop(ROWS)).for_serving, tmp_path / "categories.json"
    learned.save(path)
    assert Categories.load(path) == learned
    for names, lifts, place in ((["a"], [0.1], 1), (["a"], [0.1], -1), (["a"], [], 0)):
        for field in ("of_item", "later"):
            path.write_bytes(msgspec.json.encode({"names": names, "lifts": lifts, field: {"tent": place}}))
            with pytest.raises(ValueError, match="do not fit together"):
                Categories.load(path)
