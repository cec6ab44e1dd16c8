"""What a flash sale does to answers."""

import pytest

from agents.demo.sale_score import SaleScore
from schemas.ids import ItemId
from schemas.records import CatalogItem, Sale
from tests.agents.demo.builders import trending

START_MS, END_MS = 100_000, 120_000
BERLIN = "de/be/ber"


def _described(score: SaleScore, *items: str) -> None:
    for item in items:
        sale = Sale(price=1.0, starts_at=START_MS, ends_at=END_MS, locations=[BERLIN])
        score.described(CatalogItem(item_id=ItemId(item), sale=sale), START_MS - 5)


def test_its_items_are_counted_before_while_and_after_it_at_its_place() -> None:
    """An answer on the way while it ends is in none of the three, and other places are not looked at."""
    score = SaleScore()
    items = [ItemId("a"), ItemId("b"), ItemId("x")]
    score.answered(items[1:], BERLIN, START_MS - 10)
    score.answered(items[2:], BERLIN, START_MS - 5)
    _described(score, "a", "b")
    score.answered(items, BERLIN, START_MS)
    score.answered(items, "nl/nh/ams", START_MS)
    score.answered(items, BERLIN, END_MS + 500)
    score.answered(items[2:], BERLIN, END_MS + 1_000)
    (sale,) = score.report()
    assert (sale.location, sale.items) == (BERLIN, 2)
    assert (sale.before, sale.during, sale.after) == (0.5, 2.0, 0.0)


def test_a_sale_that_is_told_of_after_its_end_was_unknown_until_then() -> None:
    """A busy machine may write its records late: what is answered meanwhile says nothing of the answers."""
    score = SaleScore()
    sale = Sale(price=1.0, starts_at=START_MS, ends_at=END_MS, locations=[BERLIN])
    score.described(CatalogItem(item_id=ItemId("a"), sale=sale), END_MS + 3_000)
    score.answered([ItemId("a")], BERLIN, END_MS + 3_900)
    assert score.report()[0].after is None
    score.answered([ItemId("b")], BERLIN, END_MS + 4_000)
    assert score.report()[0].after == 0.0


def test_a_sale_is_over_until_one_of_its_items_is_sold_again() -> None:
    """The shop may bring it back; then answers hold it rightly."""
    score = SaleScore()
    _described(score, "a", "b")
    score.answered([ItemId("b")], BERLIN, END_MS + 1_500)
    score.described(CatalogItem(item_id=ItemId("a")), END_MS + 2_000)
    score.answered([ItemId("a")], BERLIN, END_MS + 2_100)
    assert score.report()[0].after == 1.0


def test_it_has_risen_when_half_of_its_items_rise_at_its_place() -> None:
    """The first such list counts; one of another place does not, nor one of after its end."""
    score = SaleScore()
    _described(score, "a", "b", "c", "d")
    score.trended(trending("bcd", rising="a", place=BERLIN), START_MS + 2_000)
    score.trended(trending(rising="abc", place="nl/nh/ams"), START_MS + 3_000)
    assert score.report()[0].risen_after_seconds is None
    for seconds in (5, 6):
        score.trended(trending(rising="abx", place=BERLIN), START_MS + seconds * 1_000)
    assert score.report()[0].risen_after_seconds == pytest.approx(5.0)
    late = SaleScore()
    _described(late, "a")
    late.trended(trending("bcd", rising="a", place=BERLIN), END_MS)
    assert late.report()[0].risen_after_seconds is None


def test_a_price_without_an_end_is_no_flash_sale() -> None:
    """Nothing of it ends."""
    score = SaleScore()
    score.described(CatalogItem(item_id=ItemId("a"), sale=Sale(price=1.0)), START_MS)
    assert score.report() == ()
