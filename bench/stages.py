"""What each stage of an answer costs and brings, switched on one after the other: `python -m bench.stages`.

Some visitors of the generated shop go through the worker's own pipeline and recommender, over states in memory and
the trained release of the bench. What its network says of each session is asked beforehand, as a model server would be
asked elsewhere, and blended there; every stage gets the same. The observer's lists are made of all visitors' clicks.
"""

import json
import time
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from zlib import crc32

import click
import numpy as np
import structlog
from msgspec import structs
from prometheus_client import CollectorRegistry, disable_created_metrics
from rich.console import Console
from rich.progress import track
from rich.table import Table

from agents.clicks.list_overlap import kept_share
from agents.clicks.pipeline import Pipeline
from agents.clicks.visitor_states import MemoryStore, VisitorStates
from agents.settings import Settings, load_settings
from agents.shop.catalog_changes import ShopCatalog
from agents.shop.settings import FlashSaleSettings, ShopSettings, StockOutSettings
from agents.shop.traffic import generate_events
from agents.shop.truth import GeneratedEvent
from agents.wiring import described_catalog, described_rules, pipeline_settings, session_rules
from bench.click_cost import finished
from bench.reasons import BATCH
from bench.release import SMALL, trained_models
from bench.rising import MINUTE_MS
from bench.rules import some_rules
from bench.trending import counting, hash_of
from schemas import wire
from schemas.availability import moment_ms
from schemas.ids import ItemId, SessionId
from schemas.ranking import ModelOutput
from schemas.records import PERSONAL_TIERS, CatalogItem, RecommendationSet, Trending
from schemas.servable import DEFAULT_MODEL_NAME
from schemas.state import InputPosition
from serving import chain
from serving.batcher import Question, blended
from serving.chain import EXPLAINED_ITEMS, NO_MERCHANT, HasRules, Recommender
from serving.errors import ModelUnavailableError
from serving.metrics import ServingMetrics
from serving.parts import OneRelease
from serving.popular import StreamPopularity
from serving.trending import NoTrending, RecordedTrending, TrendingView, Trends
from serving.vouchers import ShopsOwn
from session_model.intent.patterns import pattern_of
from session_model.networks.exported_model import ExportedModel
from session_model.release.copies import load_release
from session_model.release.files import newest_release
from session_model.release.release import Release
from streams.catalog import Catalog
from streams.cluster.topics import Topic
from streams.metrics import DeliveryMetrics
from streams.records import InputRecord, OutputRecord
from streams.sessions import sessionizer
from streams.trending.fold import TrendingFold
from streams.trending.lists import TrendingLists

BEGIN: Final = timedelta(hours=24)
"""Of the shop's time."""
WARM: Final = timedelta(hours=12)
"""That the observer has counted for before the first answer."""
CHUNK: Final = 50
"""Events that a stage takes before it is the next one's turn."""
LIMITS_US: Final = {"20 rules": 40.0, "what rises: everything": 100.0}
"""That an event may cost more than with nothing on, by stage."""
KEEP_BONUS: Final = 0.5
OTHER_PLACES: Final = 15
"""That rules name beside the shop's own."""
STALE_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Stage:
    """What is on. counts, reasons: no setting turns them off, so the bench takes them out."""

    name: str
    counts: bool = True
    trending: bool = True
    rules: int = 20
    times: bool = True
    keep_bonus: float = KEEP_BONUS
    reasons: bool = True
    rising: bool = True


_OFF: Final = Stage("nothing", False, False, 0, False, 0.0, False, False)
STAGES: Final = (
    _OFF,
    counted := replace(_OFF, name="counts", counts=True),
    trending := replace(counted, name="trending lists", trending=True),
    ruled := replace(trending, name="20 rules", rules=20),
    timed := replace(ruled, name="availability in time", times=True),
    kept := replace(timed, name="keep_bonus .5", keep_bonus=KEEP_BONUS),
    reasoned := replace(kept, name="reasons", reasons=True),
    everything := replace(reasoned, name="what rises: everything", rising=True),
    replace(everything, name="everything, 500 rules", rules=500),
)


@dataclass(slots=True)
class Gains:
    """What the answers of a stage were worth. hits: among the first 20, of next views, of those on sale, and for all.

    gone: items in answers whose time was over. because: of the first items of personal answers, that have a reason.
    """

    answers: int = 0
    targets: int = 0
    hits: int = 0
    on_sale: int = 0
    on_sale_hits: int = 0
    for_all_hits: int = 0
    lists: int = 0
    kept: float = 0.0
    gone: int = 0
    first: int = 0
    because: int = 0

    def shares(self) -> dict[str, float]:
        """Return the figures of the table."""
        return {
            "recall_at_20": self.hits / max(1, self.targets),
            "recall_at_20_on_sale": self.on_sale_hits / max(1, self.on_sale),
            "recall_at_20_of_lists_for_all": self.for_all_hits / max(1, self.targets),
            "kept_of_10": self.kept / max(1, self.lists),
            "gone_items_in_1000_answers": 1000 * self.gone / max(1, self.answers),
            "first_items_with_a_reason": self.because / max(1, self.first),
        }


class Blends:
    """What the model says of each session, blended; implements serving.chain.Model. It fails where it must learn."""

    def __init__(self) -> None:
        self._known = dict[bytes, ModelOutput]()
        self._asked = dict[bytes, Question]()

    async def rank(self, question: Question) -> ModelOutput:
        """Answer at once."""
        key = question.row.items.tobytes()
        if (found := self._known.get(key)) is None:
            self._asked[key] = question
            raise ModelUnavailableError("not asked yet")
        return found

    def learn(self, model: ExportedModel) -> None:
        """Ask the model what it was asked for in vain."""
        waiting = list(self._asked.items())
        for at in range(0, len(waiting), BATCH):
            keys, questions = zip(*waiting[at : at + BATCH], strict=True)
            outputs = model.predict([question.row for question in questions])
            self._known.update(zip(keys, blended(questions, outputs), strict=True))
        self._asked.clear()


class Open:
    """Implements serving.chain.Gate."""

    refuses: Final = False


@dataclass(frozen=True, slots=True)
class Shop:
    """What all stages have in common. events: of the visitors that are answered, by arrival."""

    settings: Settings
    release: Release
    blends: Blends
    catalogs: Mapping[bool, Catalog]
    rules: Mapping[int, HasRules]
    lists: Sequence[Trending]
    events: Sequence[GeneratedEvent]
    records: Sequence[InputRecord]
    ends_ms: Mapping[ItemId, int]


class Lane:
    """A stage's pipeline, from an empty memory on."""

    def __init__(self, stage: Stage, shop: Shop) -> None:
        self.stage, self._shop, self._now_ms = stage, shop, 0
        settings, catalog, releases = shop.settings, shop.catalogs[stage.times], OneRelease(shop.release)
        serving = replace(settings.serving, keep_bonus=stage.keep_bonus, mix_rising=stage.rising)
        self._recorded = None
        view: TrendingView = NoTrending()
        if stage.trending:
            view = self._recorded = RecordedTrending(shop.lists, settings.locations, stale_after_seconds=STALE_SECONDS)
        vouchers = ShopsOwn(catalog, releases)
        self.recommender = Recommender(
            model=shop.blends,
            gate=Open(),
            releases=releases,
            popularity=StreamPopularity(
                half_life_seconds=serving.popular_half_life.total_seconds(),
                max_items=serving.popular_max_items,
                max_locations=serving.popular_max_locations,
                vouchers=vouchers,
            ),
            trends=Trends(view, vouchers),
            catalog=catalog,
            settings=serving,
            metrics=ServingMetrics(CollectorRegistry()),
            wall_ms=lambda: self._now_ms,
            rules=shop.rules[stage.rules],
            pattern=pattern_of,
        )
        live = replace(pipeline_settings(settings, lambda _: float("inf")), is_as_of_records=True)
        metrics = DeliveryMetrics(CollectorRegistry())
        self._pipeline = Pipeline(live, session_rules(settings), self.recommender, metrics)
        self._states = VisitorStates(MemoryStore())
        self._states.open_partition(0, ())

    def advance(self, now_ms: int) -> None:
        """Let it be so late."""
        self._now_ms = now_ms
        if self._recorded is not None:
            self._recorded.advance(now_ms)

    def answer(self, record: InputRecord) -> Sequence[OutputRecord]:
        """Take one record all the way."""
        step = self._pipeline.click(record, self._states)
        if step.write is not None:
            self._states.write(0, step.write)
        answer: Awaitable[Sequence[OutputRecord]] = step.answer()
        return finished(answer)

    def seconds(self, records: Sequence[InputRecord]) -> float:
        """Return the processor time of some records."""
        self.advance(records[0].time_ms)
        with as_of(self.stage):
            began = time.thread_time()
            for record in records:
                self.answer(record)
            return time.thread_time() - began


@contextmanager
def as_of(stage: Stage) -> Iterator[None]:
    """Take out what no setting turns off."""
    count, explained = sessionizer.counted_views, chain.EXPLAINED_ITEMS  # type: ignore[attr-defined]
    if not stage.counts:
        sessionizer.counted_views = lambda known, *_: ((), known)  # type: ignore[attr-defined]
    if not stage.reasons:
        chain.EXPLAINED_ITEMS = 0  # type: ignore[misc]
    try:
        yield
    finally:
        sessionizer.counted_views, chain.EXPLAINED_ITEMS = count, explained  # type: ignore[misc, attr-defined]


def shop_of(settings: Settings, release: Release, duration: timedelta, most: int) -> Shop:
    """Run the shop, count as the observer does, and take some of its visitors, whole sessions and all."""
    of = ShopSettings(
        n_items=SMALL,
        flash_sales=FlashSaleSettings(every=timedelta(hours=3)),
        stock_outs=StockOutSettings(),
    )
    events = list(generate_events(of, WARM + duration, begin=BEGIN))
    begin_ms = of.start_ms + (BEGIN + WARM) // timedelta(milliseconds=1)
    every = max(1, sum(one.arrival_ms >= begin_ms for one in events) // most)
    chosen = [one for one in events if one.arrival_ms >= begin_ms and crc32(one.click.visitor_id.encode()) % every == 0]
    described = ShopCatalog(of).at(begin_ms)
    plain = [structs.replace(one, available_from=None, available_until=None, sale=None) for one in described]
    places = [*of.locations, *(f"place-{number}" for number in range(OTHER_PLACES))]
    items, categories = [one.item_id for one in described], sorted({one.category or "" for one in described})
    topic = settings.topics.name(Topic.CLICKSTREAM)
    return Shop(
        settings=settings,
        release=release.with_catalog(plain),
        blends=Blends(),
        catalogs={False: described_catalog(settings, plain), True: described_catalog(settings, described)},
        rules={0: NO_MERCHANT}
        | {count: described_rules(settings, some_rules(count, items, categories, places)) for count in (20, 500)},
        lists=list(trending_lists(settings, events)),
        events=chosen,
        records=[
            InputRecord(
                InputPosition(topic, 0, offset), one.click.visitor_id.encode(), wire.encode(one.click), one.arrival_ms
            )
            for offset, one in enumerate(chosen)
        ],
        ends_ms=ends_of(described),
    )


def ends_of(records: Sequence[CatalogItem]) -> dict[ItemId, int]:
    """Return when items go for good, Unix milliseconds."""
    return {one.item_id: moment_ms(one.available_until) for one in records if one.available_until is not None}


def trending_lists(settings: Settings, events: Sequence[GeneratedEvent]) -> Iterator[Trending]:
    """Return what an observer would write, once a minute."""
    places = settings.locations
    lists, now_ms = TrendingLists(TrendingFold(places.chain, hash_of), places.chain), 0
    for offset, (record, event) in enumerate(zip(counting(events), events, strict=True)):
        if event.arrival_ms - now_ms >= MINUTE_MS:
            now_ms = event.arrival_ms
            lists.settle()
            moment = datetime.fromtimestamp(now_ms / 1000, UTC)
            yield from (one for _, one in lists.records(list(lists.fold.places), moment) if one is not None)
        lists.take(record, 0, offset, event.arrival_ms)


def gains_of(lane: Lane, shop: Shop) -> Gains:
    """Answer all events, and hold each next view of a session against the answer before it."""
    gains, before = Gains(), dict[SessionId, RecommendationSet]()
    topic = shop.settings.topics.name(Topic.RECOMMENDATIONS)
    with as_of(lane.stage):
        for event, record in zip(shop.events, shop.records, strict=True):
            lane.advance(record.time_ms)
            (sent,) = (one for one in lane.answer(record) if one.topic == topic)
            answer = wire.decode_recommendation_set(sent.value or b"")
            gains.answers += 1
            ends = (shop.ends_ms.get(item.item_id) for item in answer.items)
            gains.gone += sum(end is not None and end <= record.time_ms for end in ends)
            session_id, item_id = answer.session_id, event.click.item_id
            if answer.status != "answered" or session_id is None or item_id is None or event.truth.is_bot:
                continue
            if answer.tier in PERSONAL_TIERS:
                gains.first += len(answer.items[:EXPLAINED_ITEMS])
                gains.because += sum(item.because is not None for item in answer.items)
            last = before.get(session_id)
            if last is not None and event.click.event_type == "view":
                for_all = lane.recommender.impersonal(event.click.location).items
                _score(gains, last, item_id, is_on_sale=event.truth.flash_sale is not None)
                gains.for_all_hits += any(item.item_id == item_id for item in for_all)
            if last is not None and answer.tier in PERSONAL_TIERS:
                gains.lists += 1
                gains.kept += kept_share([one.item_id for one in last.items], [one.item_id for one in answer.items])
            before[session_id] = answer
    return gains


def _score(gains: Gains, last: RecommendationSet, item_id: ItemId, *, is_on_sale: bool) -> None:
    is_hit = any(item.item_id == item_id for item in last.items)
    gains.targets += 1
    gains.hits += is_hit
    gains.on_sale += is_on_sale
    gains.on_sale_hits += is_hit and is_on_sale


class Rounds:
    """Seconds of each chunk, by stage: (rounds, chunks). The least of a chunk counts, which was disturbed the least."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[list[float]]] = {stage.name: [] for stage in STAGES}

    def run(self, shop: Shop, number: int) -> None:
        """Let the stages take turns, a chunk each, another one first each time."""
        lanes, spent = [Lane(stage, shop) for stage in STAGES], {name: list[float]() for name in self._seconds}
        starts = range(0, len(shop.records), CHUNK)
        for turn, start in enumerate(track(starts, f"round {number + 1}", console=Console(stderr=True))):
            first = (turn + number) % len(lanes)
            for lane in (*lanes[first:], *lanes[:first]):
                spent[lane.stage.name].append(lane.seconds(shop.records[start : start + CHUNK]))
        for name, one in spent.items():
            self._seconds[name].append(one)

    def microseconds(self, name: str, n_events: int) -> float:
        """Return the processor time of an event."""
        return 1e6 * float(np.array(self._seconds[name]).min(axis=0).sum()) / n_events


def print_table(costs: Mapping[str, float], gains: Mapping[str, Gains], title: str) -> None:
    """Print a stage a row."""
    columns = ("next view @20", "on sale", "lists for all", "kept of 10", "gone in 1,000", "with a reason")
    table = Table("one more on", "CPU us an event", "more than nothing", "than above", *columns, title=title)
    nothing = before = costs[_OFF.name]
    for name, cost in costs.items():
        figures = list(gains[name].shares().values())
        brings = [f"{one:.3f}" for one in figures]
        brings[4] = f"{figures[4]:.1f}"
        table.add_row(name, f"{cost:.0f}", f"{cost - nothing:+.0f}", f"{cost - before:+.0f}", *brings)
        before = cost
    Console().print(table)
    for name, limit in LIMITS_US.items():
        more = costs[name] - nothing
        told = "within" if more <= limit else "ABOVE"
        Console().print(f"{name}: {more:.0f} us more than nothing, {told} the {limit:.0f} that it may be")


@click.command()
@click.option("--hours", default=4.0, show_default=True, help="Of the shop's time, after the lists have begun.")
@click.option("--events", default=6_000, show_default=True, help="About so many are answered, those of some visitors.")
@click.option("--rounds", default=5, show_default=True, help="The least of each 50 events counts.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path(".bench"), show_default=True)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there.")
def main(hours: float, events: int, rounds: int, cache: Path, json_file: Path | None) -> None:
    """Switch the stages of an answer on, one after the other."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    release = load_release(newest_release(trained_models(cache) / DEFAULT_MODEL_NAME))
    shop = shop_of(load_settings(), release, timedelta(hours=hours), events)
    lane = Lane(_OFF, shop)
    for record in shop.records:
        lane.answer(record)
    shop.blends.learn(ExportedModel.of(release))
    gains = {stage.name: gains_of(Lane(stage, shop), shop) for stage in STAGES}
    measured = Rounds()
    for number in range(rounds):
        measured.run(shop, number)
    n_events = len(shop.records)
    costs = {stage.name: measured.microseconds(stage.name, n_events) for stage in STAGES}
    one = gains[_OFF.name]
    title = f"{n_events:,} events, {one.targets:,} next views, {one.on_sale:,} of them on sale; {rounds} rounds"
    print_table(costs, gains, title)
    if json_file is not None:
        told = [{"stage": name, "cpu_us": costs[name], **gains[name].shares()} for name in costs]
        json_file.write_text(json.dumps({"events": n_events, "rounds": rounds, "stages": told}, indent=2) + "\n")


if __name__ == "__main__":
    main()
