"""What the generated shop is like; everything it does follows from these values."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from agents.shop.words import CATEGORIES
from schemas.errors import UsageError
from schemas.events import unix_ms

MAX_ITEMS = 200_000
MAX_VISITORS = 5_000_000
MAX_LOCATIONS = 32
_VISITORS_PER_HOURLY_SESSION = 4
_MIN_ITEMS_PER_CATEGORY = 10


@dataclass(frozen=True, slots=True)
class FlashSaleSettings:
    """One sale in each slot of `every`, at one location, over before the slot ends.

    discount: off the price, in [0, 1). pull: share of the views at the location that go to the sale's items.
    surge: extra sessions while it runs, as a share of the usual ones; all at the
    location, fewer where few visitors are at home there. sells_out: its items are gone everywhere from its end on until
    the slot is over, and their records say so as it begins.
    """

    every: timedelta = timedelta(hours=6)
    duration: timedelta = timedelta(hours=1)
    n_items: int = 12
    discount: float = 0.3
    pull: float = 0.4
    surge: float = 0.3
    sells_out: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot run."""
        if not timedelta(0) < self.duration < self.every:
            raise UsageError(
                f"flash sale: a duration of {self.duration} does not fit into every {self.every}; shorten the sale"
            )
        _at_least(self.n_items, 1, "flash sale n_items")
        _in_unit_interval(self.discount, "flash sale discount")
        _in_unit_interval(self.pull, "flash sale pull")
        _in_unit_interval(self.surge, "flash sale surge")


@dataclass(frozen=True, slots=True)
class StockOutSettings:
    """How stock comes and goes: in each slot of `every` some items sell out, and all come back before it ends.

    share: of the items, in each slot. mean: how long they are away, on average. given_up_share: of the items, those
    that go for good, at a moment within `given_up_within` of the start or their release; their record names it from the
    first day on.
    """

    every: timedelta = timedelta(hours=6)
    share: float = 0.05
    mean: timedelta = timedelta(minutes=40)
    given_up_share: float = 0.05
    given_up_within: timedelta = timedelta(days=7)

    def __post_init__(self) -> None:
        """Refuse what cannot run."""
        if not timedelta(0) < self.mean < self.every or self.given_up_within <= timedelta(0):
            raise UsageError(f"stock-outs of {self.mean} on average do not fit into every {self.every}; shorten them")
        _in_unit_interval(self.share, "stock-out share")
        _in_unit_interval(self.given_up_share, "stock-out given_up_share")


@dataclass(frozen=True, slots=True)
class ShopSettings:
    """A shop by its seed: items, tastes and visitors hang on `seed` and the sizes, never on the time asked for.

    bot_share: of sessions. duplicate_share, late_share: of events. diurnal_amplitude: 0 is a flat day, below 1.
    sessions_per_hour: the mean over a day; `n_visitors` must be at least four times that, since a visitor rests for
    more than the inactivity gap between two sessions. flash_sales, stock_outs: None for a shop without them.
    locations: where visitors are at home, in the first the most; `nl/nh/ams` lies in `nl/nh`, that in `nl`.
    place_taste: of what is popular around a place, the share that its own taste takes the place of, at each level of
    its name; 0 = all places like the same.
    """

    seed: int = 7
    n_items: int = 2_000
    n_categories: int = 12
    n_visitors: int = 20_000
    locations: tuple[str, ...] = ("Amsterdam", "Berlin", "Copenhagen", "Lisbon", "Prague")
    sessions_per_hour: float = 2_000.0
    diurnal_amplitude: float = 0.6
    bot_share: float = 0.003
    duplicate_share: float = 0.01
    late_share: float = 0.01
    flash_sales: FlashSaleSettings | None = field(default_factory=FlashSaleSettings)
    start: datetime = datetime(2026, 1, 5, tzinfo=UTC)
    stock_outs: StockOutSettings | None = None
    place_taste: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no shop can be."""
        _at_least(self.seed, 0, "seed")
        if not 1 <= self.n_categories <= len(CATEGORIES):
            raise UsageError(f"n_categories is {self.n_categories}; give 1 to {len(CATEGORIES)}")
        least_items = _MIN_ITEMS_PER_CATEGORY * self.n_categories
        if not least_items <= self.n_items <= MAX_ITEMS:
            raise UsageError(f"n_items is {self.n_items}; give {least_items} to {MAX_ITEMS}, ten a category at least")
        if not 1 <= len(set(self.locations)) == len(self.locations) <= MAX_LOCATIONS:
            raise UsageError(f"locations are {self.locations}; give 1 to {MAX_LOCATIONS} different names")
        if not 0 < self.sessions_per_hour * _VISITORS_PER_HOURLY_SESSION <= self.n_visitors <= MAX_VISITORS:
            raise UsageError(
                f"{self.n_visitors} visitors cannot make {self.sessions_per_hour:g} sessions an hour; "
                f"give {_VISITORS_PER_HOURLY_SESSION} visitors for each, {MAX_VISITORS} at most"
            )
        for name in ("diurnal_amplitude", "bot_share", "duplicate_share", "late_share", "place_taste"):
            _in_unit_interval(getattr(self, name), name)
        if self.start.tzinfo is None:
            raise UsageError(f"start is {self.start}, without a time zone; add one")

    @property
    def start_ms(self) -> int:
        """When the shop opens, Unix milliseconds."""
        return unix_ms(self.start)


def _at_least(value: int, least: int, name: str) -> None:
    if value < least:
        raise UsageError(f"{name} is {value}; give {least} or more")


def _in_unit_interval(value: float, name: str) -> None:
    if not 0 <= value < 1:
        raise UsageError(f"{name} is {value}; give a share of at least 0 and below 1")
