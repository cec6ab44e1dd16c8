"""Load: the generated shop's shoppers on a real clickstream, as many events a second as asked for."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from msgspec import structs

from agents.shop.catalog import catalog
from agents.shop.settings import ShopSettings
from agents.shop.traffic import generate_events
from schemas import wire
from schemas.events import ClickEvent
from streams.cluster.topics import Topic, TopicSettings
from streams.records import OutputRecord
from streams.tools.sender import Sender

EVENTS_PER_SESSION: Final = 7.6
"""Of the generated shop, duplicates and bots among them; measured over 60,000 events."""
_LEAST_VISITORS: Final = 20_000
_MOST_VISITORS: Final = 500_000
_VISITORS_PER_HOURLY_SESSION: Final = 4
_POLL_SECONDS: Final = 0.05
_ADVANCE_EVERY: Final = 100


@dataclass(slots=True)
class Simulated:
    """What was sent. events_per_second: over the whole run, 0 where nothing was."""

    catalog_items: int = 0
    events: int = 0
    seconds: float = 0.0
    by_type: Counter[str] = field(default_factory=Counter)

    @property
    def events_per_second(self) -> float:
        """The rate that was reached."""
        return self.events / self.seconds if self.seconds else 0.0


def shop_for(rate: float, seed: int, n_items: int) -> ShopSettings:
    """Return a shop with so many visitors that its own clock keeps up with the wall's at `rate` events a second.

    Above some 260 events a second it does not have them: the clicks of a session then follow each other faster.
    """
    sessions_per_hour = min(rate * 3600 / EVENTS_PER_SESSION, _MOST_VISITORS / _VISITORS_PER_HOURLY_SESSION)
    n_visitors = max(_LEAST_VISITORS, math.ceil(sessions_per_hour * _VISITORS_PER_HOURLY_SESSION))
    return ShopSettings(
        seed=seed, n_items=n_items, n_visitors=n_visitors, sessions_per_hour=sessions_per_hour, diurnal_amplitude=0.0
    )


class Simulation:
    """One run over a deployment's topics. The same seed and rate bring the same shoppers, at the time of the run."""

    def __init__(self, shop: ShopSettings, topics: TopicSettings, sender: Sender) -> None:
        self._shop = shop
        self._clickstream = topics.name(Topic.CLICKSTREAM)
        self._catalog = topics.name(Topic.CATALOG)
        self._sender = sender
        self.sent = Simulated()

    def describe_items(self) -> None:
        """Write the catalog, and wait until it is there."""
        for item in catalog(self._shop, self._shop.start):
            self._sender.send(OutputRecord(self._catalog, item.item_id.encode(), wire.encode(item)))
            self.sent.catalog_items += 1
        self._sender.flush()

    def run(self, rate: float, is_over: Callable[[float], bool], advance: Callable[[Simulated], None]) -> None:
        """Send `rate` events a second until `is_over`, which hears the seconds since the start; then flush."""
        clicks = self._clicks()
        first = next(clicks)  # builds the shop, which is no part of the run
        started = time.monotonic()
        for click in chain([first], clicks):
            while (seconds := time.monotonic() - started) < self.sent.events / rate and not is_over(seconds):
                self._sender.poll(min(_POLL_SECONDS, self.sent.events / rate - seconds))
            if is_over(seconds):
                break
            self._sender.send(OutputRecord(self._clickstream, click.visitor_id.encode(), wire.encode(click)))
            self.sent.events += 1
            self.sent.by_type[click.event_type] += 1
            self.sent.seconds = seconds
            if self.sent.events % _ADVANCE_EVERY == 0:
                advance(self.sent)
        self._sender.flush()
        self.sent.seconds = time.monotonic() - started
        advance(self.sent)

    def _clicks(self) -> Iterator[ClickEvent]:
        """Return the shop's clicks as if each arrived now, as long after its event_time as the shop says."""
        for event in generate_events(self._shop):
            delay_ms = event.arrival_ms - event.click.event_time_ms
            yield structs.replace(event.click, event_time=time.time_ns() // 1_000_000 - delay_ms)
