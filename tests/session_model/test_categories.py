"""Categories: whose sessions buy, told to a session by the others only."""

from math import log
from pathlib import Path

import msgspec
import numpy as np
import pytest

from schemas.ids import ItemId
from schemas.records import CatalogItem
from session_model.categories import BLOCKS, PRIOR_SESSIONS, Categories, learn_categories
from session_model.sessions import Sessions
from tests.session_model.test_intent import PURCHASE, VIEW, columns


def item(item_id: str, category: str | None) -> CatalogItem:
    """Say of which category an item is."""
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


def log_odds(rate: float) -> float:
    """Give those of a rate."""
    return log(rate / (1 - rate))


def test_a_lift_is_the_shrunk_log_odds_above_those_of_all_sessions() -> None:
    """Each session counts once a category; an item without one counts for all alone; unclicked items have theirs."""
    learned = learn_categories(CATALOG, shop(ROWS)).all
    rate, prior = 11 / 52, PRIOR_SESSIONS
    assert learned.names == ["camping", "clothes"]
    assert learned.of_item == {"tent": 0, "sock": 1, "rope": 0}
    expected = [log_odds((bought + prior * rate) / (20 + prior)) - log_odds(rate) for bought in (10, 0)]
    assert learned.lifts == pytest.approx(expected)


def test_a_session_is_told_nothing_of_its_own_block() -> None:
    """Neither what was bought in it nor the category of an item that only it has."""
    rows = [("tent", False)] * 40 + [("sock", True)] * 10
    fitted = learn_categories(CATALOG, shop(rows))
    assert BLOCKS == 5
    first, last = fitted.of_session(0), fitted.of_session(49)
    assert last.of_item == {"tent": 0}
    assert last.lifts == pytest.approx([log_odds((20 / 42) / 60) - log_odds(1 / 42), 0.0])
    assert first.of_item == {"tent": 0, "sock": 1}
    assert first.lifts[1] > 0


def test_new_items_join_the_categories_that_are_known() -> None:
    """What is known of an item stays; a new category says nothing."""
    known = Categories(["camping", "clothes"], [0.5, -0.5], {ItemId("tent"): 0})
    joined = known.with_items(
        [item("tent", "clothes"), item("hat", "clothes"), item("pan", "kitchen"), item("x", None)]
    )
    assert joined.of_item == {"tent": 0, "hat": 1}
    assert known.with_items([item("pan", "kitchen")]) is known


def test_without_a_catalog_nothing_is_known() -> None:
    """There are no categories then, for no session."""
    learned = learn_categories([], shop(ROWS))
    assert learned.all == learned.of_session(7) == Categories()


def test_what_is_written_is_read_and_nonsense_is_refused(tmp_path: Path) -> None:
    """To the last digit; a place outside the names is no category."""
    learned, path = learn_categories(CATALOG, shop(ROWS)).all, tmp_path / "categories.json"
    learned.save(path)
    assert Categories.load(path) == learned
    for names, lifts, place in ((["a"], [0.1], 1), (["a"], [0.1], -1), (["a"], [], 0)):
        path.write_bytes(msgspec.json.encode({"names": names, "lifts": lifts, "of_item": {"tent": place}}))
        with pytest.raises(ValueError, match="do not fit together"):
            Categories.load(path)
