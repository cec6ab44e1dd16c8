"""What merchants' rules cost a list: `python -m bench.rules`; processor time, the least of some rounds."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from schemas import wire
from schemas.ids import ItemId, RuleId
from schemas.records import CatalogItem, RecommendedItem
from schemas.rules import MerchantRule
from serving.filters import FilterRules, allowed_items, may_be_listed, top_k
from serving.rules.book import Asked, RuleBook
from serving.rules.facts import CatalogFacts
from serving.rules.placing import Listing, place
from streams.catalog import Catalog

ITEMS: Final = [f"i{number}" for number in range(1_000)]
PLACES: Final = [f"l{number}" for number in range(20)]
CATEGORIES: Final = [f"c{number}" for number in range(12)]
N_CANDIDATES: Final = 140
SIZE: Final = 20
HERE: Final = "l3"
NOW_MS: Final = 1_772_323_200_000
ROUNDS: Final = 9
LISTS: Final = 2_000


def some_rules(
    count: int,
    items: Sequence[str] = ITEMS,
    categories: Sequence[str] = CATEGORIES,
    places: Sequence[str] = PLACES,
) -> list[MerchantRule]:
    """Draw pins, boosts, buries and blocks of three items or a category, most for one of the places."""
    dice, rules = Random(1), list[MerchantRule]()
    for number in range(count):
        action = dice.choice(["pin", "boost", "bury", "block"])
        rule: dict[str, Any] = {"rule_id": f"r{number}", "action": action}
        if dice.random() > 1 / (len(places) + 1):
            rule["where"] = [dice.choice(places)]
        if action in {"boost", "bury"}:
            rule["factor"] = dice.uniform(1.1, 2.0) if action == "boost" else dice.uniform(0.5, 0.9)
        if action == "pin":
            rule["position"] = dice.randrange(1, 4)
        if "factor" in rule and dice.random() < 0.5:
            rule["category"] = dice.choice(categories)
        else:
            rule["items"] = dice.sample(items, 3)
        rules.append(msgspec.convert(rule, MerchantRule))
    return rules


def list_maker(catalog: Catalog, rules: list[MerchantRule]) -> Callable[[], list[RecommendedItem]]:
    """Return what makes one list as the fallback chain does."""
    ranked = [RecommendedItem(ItemId(f"i{number}"), 1 / (number + 1)) for number in range(N_CANDIDATES)]
    filters = FilterRules(HERE, NOW_MS, frozenset(), frozenset())
    book = RuleBook(rules)

    def make() -> list[RecommendedItem]:
        plan = book.plan(Asked(NOW_MS, HERE, "phone"), "model") if len(book) else None
        if plan is None:
            return top_k(allowed_items(ranked, filters, catalog), SIZE)
        listing = Listing(may_be_listed(filters, catalog), CatalogFacts(catalog, HERE, NOW_MS), SIZE)
        return place(ranked, plan, listing).items

    return make


def changed_and_asked(book: RuleBook, changes: dict[RuleId, MerchantRule], asked: Asked) -> object:
    """Change rules, and compile what holds then."""
    return book.with_changes(changes).plan(asked, "model")


def microseconds(action: Callable[[], object], times: int) -> float:
    """Return the processor time of one call."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(times):
            action()
        best = min(best, (time.process_time() - began) / times)
    return best * 1e6


@click.command()
@click.option("--rules", "counts", multiple=True, type=click.IntRange(0), default=(0, 20, 500), show_default=True)
def main(counts: tuple[int, ...]) -> None:
    """Measure a list of 20 out of 140 candidates, what a change of one rule takes, and the first answer after it."""
    catalog = Catalog()
    for number, name in enumerate(ITEMS):
        item = CatalogItem(item_id=ItemId(name), category=f"{CATEGORIES[number % len(CATEGORIES)]}/b{number % 40}")
        catalog.apply(item.item_id.encode(), wire.encode(item))
    table = Table("rules", "of them for this list", "a list, us", "a change, us", "a new kind of answer, us")
    for count in counts:
        rules = some_rules(count)
        book, asked = RuleBook(rules), Asked(NOW_MS, HERE, "phone")
        plan, changes = book.plan(asked, "model"), {rule.rule_id: rule for rule in rules[:1]}
        cost = microseconds(list_maker(catalog, rules), LISTS)
        change = microseconds(partial(book.with_changes, changes), 100)
        both = microseconds(partial(changed_and_asked, book, changes, asked), 100)
        held = 0 if plan is None else len(plan.rules)
        table.add_row(str(count), str(held), f"{cost:.1f}", f"{change:.0f}", f"{both - change:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
