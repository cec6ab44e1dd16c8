"""What a flash sale does to answers: how many of its items they hold before it, while it runs, and after it."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from schemas.availability import is_at, moment_ms
from schemas.events import from_unix_ms
from schemas.ids import ItemId
from schemas.places import LocationSettings
from schemas.records import CatalogItem, Trending
from streams.availability_history import ALLOWED_MS


@dataclass(frozen=True, slots=True)
class SaleReport:
    """One sale. before, during, after: its items in an answer at its place, on average; None where there was no answer.

    after: until the catalog says anything new of one of them.

    risen_after_seconds: from its start until the first list on `trending` in which half of its items rise at its place;
    None = there was none. Answers of the second after its end are in none of the three.
    """

    location: str
    starts_at: datetime
    ends_at: datetime
    items: int
    before: float | None
    during: float | None
    after: float | None
    risen_after_seconds: float | None


@dataclass(slots=True)
class _Mean:
    total: int = 0
    count: int = 0

    def add(self, value: int) -> None:
        self.total += value
        self.count += 1

    def value(self) -> float | None:
        return self.total / self.count if self.count else None


@dataclass(slots=True)
class _Sale:
    location: str
    start_ms: int
    end_ms: int
    before: Counter[ItemId]
    answers_before: int
    told_ms: int = 0
    back_ms: float = math.inf
    items: set[ItemId] = field(default_factory=set)
    during: _Mean = field(default_factory=_Mean)
    after: _Mean = field(default_factory=_Mean)
    risen_ms: int | None = None


class SaleScore:
    """Learns of sales at one place from the catalog's records; told the time by those and by the answers'."""

    def __init__(self) -> None:
        self._places = LocationSettings()
        self._sales: dict[tuple[str, int, int], _Sale] = {}
        self._listed: defaultdict[str, Counter[ItemId]] = defaultdict(Counter)
        self._answers = Counter[str]()

    def described(self, record: CatalogItem, time_ms: int) -> None:
        """Take in what the catalog says of an item; time_ms: its record's timestamp, Unix."""
        for known in self._sales.values():
            if record.item_id in known.items and time_ms >= known.end_ms:
                known.back_ms = min(known.back_ms, time_ms)  # sold again, as a shop may
        sale = record.sale
        if sale is None or sale.starts_at is None or sale.ends_at is None or sale.locations is None:
            return
        for location in sale.locations:
            key = (location, moment_ms(sale.starts_at), moment_ms(sale.ends_at))
            if key not in self._sales:
                self._sales[key] = _Sale(*key, Counter(self._listed[location]), self._answers[location])
            told = self._sales[key]
            if record.item_id not in told.items:
                told.items.add(record.item_id)
                told.told_ms = max(told.told_ms, time_ms)

    def answered(self, item_ids: Sequence[ItemId], location: str | None, made_ms: int) -> None:
        """Take in an answer to somebody at `location`; made_ms: its record's timestamp, Unix."""
        if location is None:
            return
        self._answers[location] += 1
        self._listed[location].update(item_ids)
        for sale in self._sales.values():
            if is_at([sale.location], location, self._places) and made_ms >= sale.start_ms:
                if made_ms < sale.end_ms:
                    sale.during.add(len(sale.items.intersection(item_ids)))
                elif max(sale.end_ms, sale.told_ms) + ALLOWED_MS <= made_ms < sale.back_ms:  # told late if busy
                    sale.after.add(len(sale.items.intersection(item_ids)))

    def trended(self, record: Trending, time_ms: int) -> None:
        """Take in what is trending at a place; time_ms: the record's timestamp, Unix."""
        rising = {item.item_id for item in record.items if item.rising}
        for sale in self._sales.values():
            is_known = sale.risen_ms is not None or sale.location != record.location or time_ms >= sale.end_ms
            if not is_known and 2 * len(rising & sale.items) >= len(sale.items):
                sale.risen_ms = time_ms

    def report(self) -> tuple[SaleReport, ...]:
        """Sum up, the earliest sale first."""
        return tuple(_report(sale) for _, sale in sorted(self._sales.items(), key=lambda sale: sale[1].start_ms))


def _report(sale: _Sale) -> SaleReport:
    before = sum(sale.before[item_id] for item_id in sale.items)
    return SaleReport(
        location=sale.location,
        starts_at=from_unix_ms(sale.start_ms),
        ends_at=from_unix_ms(sale.end_ms),
        items=len(sale.items),
        before=before / sale.answers_before if sale.answers_before else None,
        during=sale.during.value(),
        after=sale.after.value(),
        risen_after_seconds=None if sale.risen_ms is None else (sale.risen_ms - sale.start_ms) / 1000,
    )
