"""The report as a table."""

import io
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace
from rich.console import Console

from agents.demo.hit_rate import PopularItems
from agents.demo.scoreboard import Scoreboard
from agents.demo.tables import report_table
from schemas import wire
from schemas.catalog_reader import DescribedItem
from schemas.ids import ItemId, RuleId
from schemas.records import TRENDING_KEY, CatalogItem, Sale
from schemas.rules import MerchantRule
from tests.agents.demo.builders import answer, sent, trending

START = datetime(2026, 1, 5, tzinfo=UTC)
START_MS = int(START.timestamp()) * 1000


def _printed(board: Scoreboard, titles: dict[ItemId, str]) -> str:
    printed = io.StringIO()
    Console(file=printed, width=160).print(report_table(board.report(), "what was seen", titles))
    return printed.getvalue()


def test_it_says_what_trends_what_a_sale_did_and_what_a_rule_changed() -> None:
    """With the titles of items, where the source tells them."""
    board = Scoreboard(PopularItems({}))
    sale = Sale(price=1.0, starts_at=START, ends_at=START + timedelta(seconds=20), locations=["nl"])
    board.described(DescribedItem(CatalogItem(item_id=ItemId("a"), sale=sale)), START_MS)
    board.trended(TRENDING_KEY, trending("b"), START_MS)
    board.trended("nl", trending(rising="a", place="nl"), START_MS + 5_000)
    rule = MerchantRule(rule_id=RuleId("pin"), action="pin", items=(ItemId("b"),), position=1)
    board.ruled(b"pin", wire.encode(rule), START_MS + 6_000)
    board.sent(sent())
    board.recommended(replace(answer("ba"), rules=[rule.rule_id]), START_MS + 6_150, START_MS + 6_120)
    printed = _printed(board, {ItemId("b"): "Oak bench"})
    assert "everywhere: Oak bench" in printed
    assert "1 items for 20 s, rising after 5 s" in printed
    assert "0 answers held one gone for more than 1 s" in printed
    assert "1 in force, in 1 answers, 120 ms after it was put" in printed


def test_of_a_log_it_says_nothing_of_sales_and_rules() -> None:
    """There is nobody who would have told of any."""
    printed = _printed(Scoreboard(PopularItems({})), {})
    assert "nothing yet" in printed
    assert "gone" not in printed
    assert "rules" not in printed
