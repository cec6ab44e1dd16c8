"""What the checks take for shown is what a worker's filters leave."""

import random

import numpy as np
import pytest

from schemas.ids import ItemId, ItemIndex
from schemas.ranking import Candidates
from schemas.records import CatalogItem, SessionEvent
from serving.fakes import FakeCatalog
from serving.filters import FilterRules, allowed_items, named
from session_model.checks.assortment import Assortment, Shelf
from session_model.release.release import Release
from tests.session_model.checks.shop import ITEM_IDS, release

NOW_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Write a release of the shop's items."""
    return release(tmp_path_factory.mktemp("release"))


@pytest.mark.parametrize("seed", range(20))
def test_a_shelf_leaves_what_the_workers_filters_leave(shop: Release, seed: int) -> None:
    """Without what is not sold there, is blocked or was bought, and variants of that or of a better-ranked item."""
    dice = random.Random(seed)
    at, elsewhere = dice.sample(["Rome", "Paris", "Oslo"], 2)
    only_at = {item_id: dice.choice([at, elsewhere]) for item_id in dice.sample(ITEM_IDS, 10)}
    gone, blocked = set(dice.sample(ITEM_IDS, 10)), frozenset(dice.sample(ITEM_IDS, 5))
    groups = {item_id: f"g{dice.randrange(8)}" for item_id in dice.sample(ITEM_IDS, 30)}
    bought = [*dice.sample(ITEM_IDS, seed % 4), ItemId("of another shop")]
    records = {
        item_id: CatalogItem(
            item_id=item_id,
            available=item_id not in gone,
            variant_group=groups.get(item_id),
            locations=[only_at[item_id]] if item_id in only_at else None,
        )
        for item_id in ITEM_IDS
    }
    ranking = np.array(dice.sample(range(1, len(ITEM_IDS) + 1), 40), np.int32)
    ranked = named(Candidates(ranking, np.arange(40, 0, -1, np.float32)), shop.item_id, at_most=40, trained_items=40)
    rules = FilterRules(at, NOW_MS, frozenset(bought), blocked)
    catalog = FakeCatalog(unavailable=set(gone), groups=groups, only_at=only_at)
    by_worker = [item.item_id for item in allowed_items(ranked, rules, catalog)]
    events = [SessionEvent("view", 0, ITEM_IDS[0]), *(SessionEvent("purchase", 1, item_id) for item_id in bought)]
    left = Shelf(shop, Assortment(items=records, blocked=blocked)).left(ranking, events, at)
    assert [shop.item_id(ItemIndex(int(index))) for index in left] == by_worker
    assert 0 < len(by_worker) < len(ranking)


def test_an_item_without_a_record_may_be_sold_unless_one_is_needed() -> None:
    """As the workers' `catalog.require_catalog` has it."""
    assert Assortment().allows(ITEM_IDS[0])
    assert not Assortment(is_record_needed=True).allows(ITEM_IDS[0])


def test_without_a_location_what_is_sold_somewhere_may_be_shown() -> None:
    """As a worker has it for a shopper of whom it knows no place."""
    sold = Assortment(items={ITEM_IDS[0]: CatalogItem(item_id=ITEM_IDS[0], locations=["Rome"])})
    assert [sold.allows(ITEM_IDS[0], at) for at in (None, "Rome", "Paris")] == [True, True, False]


def test_what_may_be_shown_depends_on_place_and_moment() -> None:
    """As a worker has it: what is sold in a country is sold in its cities, and what has ended is not."""
    ended = CatalogItem(item_id=ITEM_IDS[0], locations=["nl"], available_until=NOW_MS)
    assortment = Assortment(items={ITEM_IDS[0]: ended}, now_ms=NOW_MS)
    assert [assortment.allows(ITEM_IDS[0], at, NOW_MS - 1) for at in ("nl", "nl/nh", "be")] == [True, True, False]
    assert not assortment.allows(ITEM_IDS[0])
    assert Assortment(items={ITEM_IDS[0]: ended}).allows(ITEM_IDS[0])
