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


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Write a release of the shop's items."""
    return release(tmp_path_factory.mktemp("release"))


@pytest.mark.parametrize("seed", range(20))
def test_a_shelf_leaves_what_the_workers_filters_leave(shop: Release, seed: int) -> None:
    """Without what may not be sold, what is blocked or was bought, and variants of that or of a better-ranked item."""
    dice = random.Random(seed)
    gone, blocked = set(dice.sample(ITEM_IDS, 10)), frozenset(dice.sample(ITEM_IDS, 5))
    groups = {item_id: f"g{dice.randrange(8)}" for item_id in dice.sample(ITEM_IDS, 30)}
    bought = [*dice.sample(ITEM_IDS, seed % 4), ItemId("of another shop")]
    records = {
        item_id: CatalogItem(item_id=item_id, available=item_id not in gone, variant_group=groups.get(item_id))
        for item_id in ITEM_IDS
    }
    ranking = np.array(dice.sample(range(1, len(ITEM_IDS) + 1), 40), np.int32)
    ranked = named(Candidates(ranking, np.arange(40, 0, -1, np.float32)), shop.item_id, at_most=40)
    rules = FilterRules(None, frozenset(bought), blocked)
    by_worker = [
        item.item_id for item in allowed_items(ranked, rules, FakeCatalog(unavailable=set(gone), groups=groups))
    ]
    events = [SessionEvent("view", 0, ITEM_IDS[0]), *(SessionEvent("purchase", 1, item_id) for item_id in bought)]
    left = Shelf(shop, Assortment(items=records, blocked=blocked)).left(ranking, events)
    assert [shop.item_id(ItemIndex(int(index))) for index in left] == by_worker
    assert 0 < len(by_worker) < len(ranking)


def test_an_item_without_a_record_may_be_sold_unless_one_is_needed() -> None:
    """As the workers' `catalog.require_catalog` has it."""
    assert Assortment().allows(ITEM_IDS[0])
    assert not Assortment(is_record_needed=True).allows(ITEM_IDS[0])
