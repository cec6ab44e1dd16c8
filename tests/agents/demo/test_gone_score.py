"""Answers that held what had gone."""

import math

import pytest

from agents.demo.gone_score import CATALOG_WAIT_MS, GoneScore
from schemas.catalog_reader import DescribedItem
from schemas.ids import ItemId
from schemas.records import CatalogItem

GONE_MS = 100_000


@pytest.fixture
def score() -> GoneScore:
    """Return a score that knows of an item which ends by its record, and of one that is sold out by another record."""
    score = GoneScore()
    score.described(DescribedItem(CatalogItem(item_id=ItemId("a"), available_until=GONE_MS)), 1_000)
    score.described(DescribedItem(CatalogItem(item_id=ItemId("b"), locations=["nl"])), 1_000)
    score.described(DescribedItem(CatalogItem(item_id=ItemId("b"), available=False)), GONE_MS)
    return score


@pytest.mark.parametrize("item", ["a", "b"])
def test_an_item_that_had_been_gone_for_more_than_a_second_is_counted(score: GoneScore, item: str) -> None:
    """Whether its record named the moment, or another record came then; within the second nobody is accused."""
    for made_ms in (GONE_MS - 1, GONE_MS + 900, GONE_MS + 1_500):
        score.answered([ItemId("c"), ItemId(item)], "nl", made_ms)
    score.settle(math.inf)
    assert score.emitted == 1


def test_an_answer_is_looked_at_when_the_catalog_must_have_been_read(score: GoneScore) -> None:
    """A record that was written before the answer may be read after it."""
    score.answered([ItemId("c")], "nl", GONE_MS + 5_000)
    score.settle(GONE_MS + 5_000 + CATALOG_WAIT_MS - 1)
    score.described(DescribedItem(CatalogItem(item_id=ItemId("c"))), 1_000)
    score.described(DescribedItem(CatalogItem(item_id=ItemId("c"), available=False)), GONE_MS)
    assert score.emitted == 0
    score.settle(GONE_MS + 5_000 + CATALOG_WAIT_MS)
    assert score.emitted == 1


def test_an_item_that_is_not_sold_at_a_place_counts_as_gone_there(score: GoneScore) -> None:
    """What is sold in nl is sold in nl/ams, and not in de."""
    for location in ("de", "nl/ams"):
        score.answered([ItemId("b")], location, GONE_MS - 5_000)
    score.settle(math.inf)
    assert score.emitted == 1
