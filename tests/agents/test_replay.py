import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from agents.replay import NextItemScore, Replay, ReplayReport
from agents.serving_tier import serving_tier
from agents.settings import ClickstreamSettings, Settings
from agents.shop.settings import ShopSettings
from agents.shop.traffic import generate_events
from agents.wiring import described_catalog, described_rules
from schemas import wire
from schemas.events import ClickEvent, from_unix_ms, unix_ms
from schemas.ids import EventId, ItemId, SessionId, VisitorId
from schemas.mapping import FieldMapping
from schemas.places import LocationSettings
from schemas.records import CatalogItem, RecommendationSet, RecommendedItem, Trending, TrendingItem
from schemas.rules import MerchantRule
from serving.settings import ServingSettings
from serving.trending import RecordedTrending
from session_model.ranking.blend import BlendWeights
from session_model.ranking.reranker import FEATURE_NAMES, Reranker
from streams.catalog import Catalog
from tests.builders.releases import write_release
from tests.builders.trending import listing, told
from tests.serving.rules.builders import rule

N_FEATURES = len(FEATURE_NAMES)

FILES = ("recommendations", "intent-signals", "recommendation-outcomes", "session-ends", "clickstream-dlq")


async def _replayed(
    events: list[ClickEvent],
    out: Path,
    settings: Settings | None = None,
    catalog: Catalog | None = None,
    rules: Sequence[MerchantRule] = (),
    *,
    trending: Sequence[Trending] = (),
    models: Path | None = None,
) -> tuple[ReplayReport, dict[str, bytes]]:
    """Replay without a release but for that of `models`, and without a model server: everything else is as with one."""
    settings = settings or Settings()
    soon = timedelta(milliseconds=1)
    settings = replace(
        settings, serving=replace(settings.serving, models_directory=models or out / "none", status_timeout=soon)
    )
    lists = RecordedTrending(trending, settings.locations, stale_after_seconds=300)
    tier = serving_tier(
        settings.serving,
        catalog or Catalog(),
        CollectorRegistry(),
        copies=out / "releases",
        rules=described_rules(settings, rules),
        trending=lists,
    )
    await tier.releases.refresh()
    paths = {name: out / name for name in FILES}
    files = {name: path.open("wb") for name, path in paths.items()}
    try:
        report = await Replay(settings, tier, files, lists).run(events, lambda _: None)
    finally:
        for file in files.values():
            file.close()
        await tier.batcher.close()
    return report, {name: path.read_bytes() for name, path in paths.items()}


@pytest.fixture(scope="module")
def shop_log() -> list[ClickEvent]:
    """2,000 events of the generated shop in event-time order."""

    def first(events: Iterator[ClickEvent]) -> list[ClickEvent]:
        return [next(events) for _ in range(2000)]

    shop = ShopSettings(seed=5, sessions_per_hour=5000)
    return sorted(first(event.click for event in generate_events(shop)), key=lambda event: event.event_time_ms)


async def test_the_mapping_is_for_reading_the_log_only(shop_log: list[ClickEvent], tmp_path: Path) -> None:
    """What comes from the loader are clicks already, whatever the shop calls its fields."""
    mapping = FieldMapping(paths={"visitor_id": "user", "item_id": "sku"}, time_format="unix_s")
    settings = replace(Settings(), clickstream=ClickstreamSettings(mapping=mapping))
    _, files = await _replayed(shop_log[:50], tmp_path, settings)
    assert (files["recommendations"].count(b"\n"), files["clickstream-dlq"]) == (50, b"")


async def test_two_replays_are_byte_identical(shop_log: list[ClickEvent], tmp_path: Path) -> None:
    """The records of two runs over a log are the same bytes in the same order."""
    runs = []
    for name in ("first", "second"):
        out = tmp_path / name
        out.mkdir()
        runs.append((await _replayed(shop_log, out))[1])
    assert runs[0] == runs[1]
    assert runs[0]["recommendations"].count(b"\n") == len(shop_log)


async def test_lists_that_are_given_to_a_replay_are_answered_from_their_event_time_on(
    shop_log: list[ClickEvent], tmp_path: Path
) -> None:
    """Until they are stale by the events' time, with the same bytes in every run; without them nothing is trending."""
    begin = shop_log[500].event_time_ms
    item = TrendingItem(ItemId("trending"), 0.5, 1.0, 100)
    trending = listing([item], from_unix_ms(begin))
    runs = []
    for name in ("first", "second"):
        out = tmp_path / name
        out.mkdir()
        runs.append((await _replayed(shop_log, out, trending=[trending]))[1]["recommendations"])
    assert runs[0] == runs[1]
    answers = [wire.decode_recommendation_set(line) for line in runs[0].splitlines()]
    listed = [answer for answer in answers if any(item.item_id == "trending" for item in answer.items)]
    times = [unix_ms(answer.event_time) - begin for answer in listed]
    assert len(listed) > 50
    assert (min(times) >= 0, max(times) < 330_000) == (True, True)
    (tmp_path / "without").mkdir()
    without = (await _replayed(shop_log, tmp_path / "without"))[1]["recommendations"]
    assert b'"trending"' not in without


@pytest.mark.parametrize("renews", [True, False])
async def test_a_release_ranks_by_the_views_of_a_list_while_its_time_lasts(
    shop_log: list[ClickEvent], tmp_path: Path, *, renews: bool
) -> None:
    """By the events' time alone: from that of the list on, until it is stale. Unless the shop does not want it."""
    nothing = Reranker(FEATURE_NAMES, (0.0,) * N_FEATURES, ((),) * N_FEATURES, (), (), BlendWeights(0.4, 0.1))
    write_release(tmp_path, reranker=nothing)
    settings = replace(Settings(), serving=ServingSettings(renew_trends=renews))
    begin = from_unix_ms(shop_log[500].event_time_ms)
    lists = [told((30.0,), {"a": (30.0,)}, begin)]
    with capture_logs() as entries:
        await _replayed(shop_log, tmp_path, settings, trending=lists, models=tmp_path)
    turns = [entry["event"] for entry in entries if "ranks_by" in entry["event"]]
    assert turns == (["release_ranks_by_what_is_viewed", "release_ranks_by_training"] if renews else [])


async def test_every_event_of_a_log_has_one_record_in_order(shop_log: list[ClickEvent], tmp_path: Path) -> None:
    """Line n of the recommendations answers event n, and the report counts them by status."""
    report, files = await _replayed(shop_log, tmp_path)
    ids = [json.loads(line)["id"] for line in files["recommendations"].splitlines()]
    assert ids == [f"clickstream-0-{n}" for n in range(len(shop_log))]
    assert report.events == sum(report.records.values()) == len(shop_log)
    assert report.records["late"] == 0


async def test_every_session_is_closed_once_by_the_end(shop_log: list[ClickEvent], tmp_path: Path) -> None:
    """At the end of the log all sessions end; their events add up to the answered ones."""
    report, files = await _replayed(shop_log, tmp_path)
    ends = [json.loads(line) for line in files["session-ends"].splitlines()]
    assert len({end["id"] for end in ends}) == len(ends)
    assert sum(end["event_count"] for end in ends) == report.records["answered"]


async def test_a_login_in_a_log_keeps_the_session(tmp_path: Path) -> None:
    """The handover is fed back before the customer's next click: one session, and its end is the customer's."""
    views = [("anon", None), ("anon", None), ("user", "anon"), ("user", "anon")]
    log = [
        ClickEvent(
            visitor_id=VisitorId(visitor_id),
            event_type="view",
            event_time=1_400_000_000_000 + number,
            item_id=ItemId(f"i{number}"),
            anonymous_id=None if anonymous_id is None else VisitorId(anonymous_id),
        )
        for number, (visitor_id, anonymous_id) in enumerate(views)
    ]
    report, files = await _replayed(log, tmp_path)
    (end,) = [json.loads(line) for line in files["session-ends"].splitlines()]
    assert [event[2] for event in end["events"]] == ["i0", "i1", "i2", "i3"]
    assert (report.events, report.records["answered"]) == (4, 4)
    signals = [json.loads(line)["prefix_length"] for line in files["intent-signals"].splitlines()]
    assert signals == [1, 2, 1, 4]


async def test_rules_hold_by_the_times_of_the_log_and_change_nothing_between_runs(
    shop_log: list[ClickEvent], tmp_path: Path
) -> None:
    """Whatever the clock says: from the event of their start, before that of their end, in every run alike."""
    begin, end = shop_log[500].event_time_ms, shop_log[1000].event_time_ms
    window = {"starts_at": from_unix_ms(begin), "ends_at": from_unix_ms(end)}
    popular = shop_log[0].item_id
    rules = [
        rule("pin", "pin", items=["sofa"], position=2, **window),
        rule("block", "block", items=[popular]),
        rule("boost", "boost", items=[shop_log[1].item_id], factor=5.0, priority=-1),
    ]
    runs = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        runs.append((await _replayed(shop_log, tmp_path / name, rules=rules))[1])
    assert runs[0] == runs[1]
    answers = [wire.decode_recommendation_set(line) for line in runs[0]["recommendations"].splitlines()]
    for event, answer in zip(shop_log, answers, strict=True):
        is_pinned = any(item.rule == "pin" for item in answer.items)
        assert is_pinned is (begin <= event.event_time_ms < end and bool(answer.items))
        assert popular not in {item.item_id for item in answer.items}
    assert any(item.rule == "boost" for answer in answers for item in answer.items)


async def test_items_begin_and_end_by_the_times_of_the_log(tmp_path: Path) -> None:
    """Whatever the clock says: an item of 2014 is listed up to its end then, and an answer says until when it holds."""
    start_ms, items = 1_400_000_000_000, ("early", "always", "later")
    described = [
        CatalogItem(item_id=ItemId("early"), available_until=start_ms + 2),
        CatalogItem(item_id=ItemId("always")),
        CatalogItem(item_id=ItemId("later"), available_from=start_ms + 3),
    ]
    log = [
        ClickEvent(
            visitor_id=VisitorId(f"v{n}"), event_type="view", event_time=start_ms + n, item_id=ItemId(items[n % 3])
        )
        for n in range(5)
    ]
    _, files = await _replayed(log, tmp_path, catalog=described_catalog(Settings(), described))
    answers = [wire.decode_recommendation_set(line) for line in files["recommendations"].splitlines()]
    listed = [{item.item_id for item in answer.items} for answer in answers]
    assert ["early" in items for items in listed] == [True, True, False, False, False]
    assert ["later" in items for items in listed] == [False, False, False, True, True]
    assert [answer.valid_until for answer in answers] == [from_unix_ms(start_ms + 2)] * 2 + [None] * 3


@pytest.mark.parametrize(("separator", "is_listed"), [("/", True), ("", False)])
async def test_places_lie_in_each_other_as_the_settings_say(tmp_path: Path, separator: str, *, is_listed: bool) -> None:
    """In a replay as in a worker: what is sold at nl is listed at nl/nh, unless places are flat."""
    settings = replace(Settings(), locations=LocationSettings(separator))
    catalog = described_catalog(settings, [CatalogItem(item_id=ItemId("tv"), locations=["nl"])])
    click = ClickEvent(
        visitor_id=VisitorId("v"),
        event_type="view",
        event_time=1_400_000_000_000,
        item_id=ItemId("tv"),
        location="nl/nh",
    )
    _, files = await _replayed([click], tmp_path, settings, catalog)
    (line,) = files["recommendations"].splitlines()
    assert ["tv"] * is_listed == [item.item_id for item in wire.decode_recommendation_set(line).items]


async def test_ten_year_old_log_has_no_late_event(tmp_path: Path) -> None:
    """Replay has no clock but the log's."""
    log = [
        ClickEvent(
            visitor_id=VisitorId(f"v{n % 7}"),
            event_type="view",
            event_time=1_400_000_000_000 + n * 60_000,
            item_id=ItemId(f"i{n % 5}"),
        )
        for n in range(700)
    ]
    report, _ = await _replayed(log, tmp_path)
    assert dict(report.records) == {"answered": 700}


async def test_the_live_hit_rate_is_the_recall_of_the_same_clicks(shop_log: list[ClickEvent], tmp_path: Path) -> None:
    """Outcomes, joined through the visitors' states, and the offline score, from the answers alone, count the same."""
    views = [event for event in shop_log if event.event_type == "view"]
    report, files = await _replayed(views, tmp_path)
    assert report.outcomes == {"click": report.targets}
    assert report.click_hits == report.hits > 50
    assert math.isclose(report.click_reciprocal_ranks, report.reciprocal_ranks)
    assert files["recommendation-outcomes"].count(b"\n") == report.targets
    assert report.as_json()["live_hit_rate"] == report.as_json()["recall_at_20"]


async def test_every_outcome_names_the_answer_before_it(shop_log: list[ClickEvent], tmp_path: Path) -> None:
    """Line by line, over all kinds of events: a click follows the visitor's latest answer of the session."""
    _, files = await _replayed(shop_log, tmp_path)
    latest: dict[str, RecommendationSet] = {}
    expected, carts = [], 0
    for line, event in zip(files["recommendations"].splitlines(), shop_log, strict=True):
        answer, before = wire.decode_recommendation_set(line), latest.get(event.visitor_id)
        if answer.status == "answered":
            latest[event.visitor_id] = answer
        if answer.status == "answered" and before is not None and before.session_id == answer.session_id:
            carts += event.event_type in {"cart", "purchase"}
            if event.event_type == "view" and event.item_id is not None:
                items = [item.item_id for item in before.items]
                position = items.index(event.item_id) + 1 if event.item_id in items else None
                expected.append((answer.id, before.id, position))
    outcomes = [wire.decode_recommendation_outcome(line) for line in files["recommendation-outcomes"].splitlines()]
    clicks = [(found.id, found.recommendation_id, found.position) for found in outcomes if found.action == "click"]
    assert clicks == expected
    assert len(outcomes) - len(clicks) == carts > 0


async def test_a_visitor_who_clicks_at_once_again_is_waited_for(tmp_path: Path) -> None:
    """Events of one visitor in one millisecond: each is held against the answer to the one before."""
    log = [
        ClickEvent(visitor_id=VisitorId("v"), event_type="view", event_time=1_400_000_000_000, item_id=ItemId("i"))
        for _ in range(5)
    ]
    _, files = await _replayed(log, tmp_path)
    outcomes = [json.loads(line) for line in files["recommendation-outcomes"].splitlines()]
    assert [outcome["recommendation_id"] for outcome in outcomes] == [f"clickstream-0-{n}" for n in range(4)]


async def test_empty_log_gives_an_empty_report(tmp_path: Path) -> None:
    """No event is no error."""
    report, files = await _replayed([], tmp_path)
    assert report.as_json()["recall_at_20"] is None
    assert set(files.values()) == {b""}


def _answer(session: str, items: list[str], status: str = "answered") -> RecommendationSet:
    return RecommendationSet(
        id="x",
        status=status,  # type: ignore[arg-type]
        visitor_id=VisitorId("v"),
        event_id=EventId("e"),
        event_time=from_unix_ms(0),
        session_id=SessionId(session),
        items=[RecommendedItem(ItemId(item), 0.0) for item in items],
        tier="model",
    )


def test_an_answer_is_scored_by_the_next_item_of_its_session() -> None:
    """Recall and MRR hold what was answered before a click against that click, session by session."""
    report = ReplayReport()
    score = NextItemScore(report)
    score.add(_answer("s1", ["b", "c"]), ItemId("a"))
    score.add(_answer("s2", ["z"]), ItemId("y"))
    score.add(_answer("s1", ["d"]), ItemId("c"))
    score.add(_answer("s1", []), ItemId("e"))
    score.add(_answer("s2", ["y"], status="duplicate"), ItemId("z"))
    assert (report.targets, report.hits) == (2, 1)
    assert math.isclose(report.reciprocal_ranks, 0.5)
    assert report.records == {"answered": 4, "duplicate": 1}
