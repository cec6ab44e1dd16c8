"""What the shop's own people do while the demo runs: sales go to the catalog in their time, and a rule is put."""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from agents.demo.feeder import Clock, embedded_producer
from agents.demo.source import CatalogChange
from schemas import wire
from schemas.availability import moment_ms
from schemas.errors import InsessionError
from schemas.records import CatalogItem, Moment
from schemas.rules import MerchantRule
from streams.cluster.topics import Topic

_FLUSH_SECONDS: Final = 10.0


class Merchant:
    """Writes to the catalog what has changed by now, and the rule when its time has come.

    changes: in the order of their moments on the source's clock. rule_after_seconds: since the first event.
    """

    def __init__(
        self, brokers: str, changes: Iterator[CatalogChange], rule: MerchantRule | None, rule_after_seconds: float
    ) -> None:
        self._producer = embedded_producer(brokers)
        self._changes = changes
        self._next = next(changes, None)
        self._rule = rule
        self._rule_after_ms = rule_after_seconds * 1000

    def act(self, clock: Clock, now_ms: int) -> list[str]:
        """Do what is due at `now_ms`, Unix; returns what a person may want to know of it, a line each."""
        said = dict[str, None]()
        while self._next is not None and clock.wall_ms(self._next[0]) <= now_ms:
            record = on_the_wall(self._next[1], clock)
            self._producer.produce(Topic.CATALOG, key=record.item_id.encode(), value=wire.encode(record))
            if record.sale is not None:
                said[_of_sale(record)] = None
            self._next = next(self._changes, None)
        if self._rule is not None and now_ms >= clock.started_ms + self._rule_after_ms:
            rule, self._rule = self._rule, None
            self._producer.produce(Topic.MERCHANT_RULES, key=rule.rule_id.encode(), value=wire.encode(rule))
            said[f"rule put: {rule.note}"] = None
        if said and self._producer.flush(_FLUSH_SECONDS):
            raise InsessionError("the embedded broker does not acknowledge the catalog; run the demo again")
        self._producer.poll(0)
        return list(said)


def on_the_wall(record: CatalogItem, clock: Clock) -> CatalogItem:
    """Return the record with its moments on the wall's clock, by which a worker goes."""

    def moved(moment: Moment | None) -> int | None:
        return None if moment is None else clock.wall_ms(moment_ms(moment))

    sale = record.sale
    return replace(
        record,
        available_from=moved(record.available_from),
        available_until=moved(record.available_until),
        sale=None if sale is None else replace(sale, starts_at=moved(sale.starts_at), ends_at=moved(sale.ends_at)),
    )


def _of_sale(record: CatalogItem) -> str:
    sale = record.sale
    assert sale is not None
    assert isinstance(sale.starts_at, int)
    assert isinstance(sale.ends_at, int)
    places = ", ".join(sale.locations or ["all places"])
    return f"flash sale in {places} begins: {(sale.ends_at - sale.starts_at) / 1000:.0f} s, then its items are gone"
