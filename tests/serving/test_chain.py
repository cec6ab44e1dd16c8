import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace as replace_fields
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from schemas.events import unix_ms
from schemas.ids import ItemId, ModelVersion, VisitorId
from schemas.places import LocationSettings
from schemas.ranking import IntentProbabilities, Neighbours
from schemas.records import TRENDING_KEY, CatalogItem, SessionEvent
from schemas.rules import MerchantRule
from serving.batcher import MicroBatcher
from serving.breaker import CircuitBreaker
from serving.chain import Answer, AnswerRequest, Recommender
from serving.errors import (
    BadRequestError,
    BadResponseError,
    DeadlineExceededError,
    ModelUnavailableError,
    PredictError,
    ServerBusyError,
)
from serving.fakes import FakeCatalog, FakePredictor, FakeRelease
from serving.guard import GuardedPredictor
from serving.metrics import ServingMetrics
from serving.parts import ReleaseParts
from serving.popular import Sighting, StreamPopularity
from serving.rules.book import Asked, Plan, RuleBook
from serving.settings import ServingSettings
from serving.trending import TrendingBoard, Trends
from serving.vouchers import ShopsOwn
from tests.serving.rules.builders import rule
from tests.serving.test_trending import trending

START_MS = 1_700_000_000_000
V1, V2 = ModelVersion(1), ModelVersion(2)
FAR = float("inf")


class FakeReleases:
    """A release in use, and the one that the next resolving finds."""

    def __init__(self, current: ReleaseParts | None, following: ReleaseParts | None = None) -> None:
        self.current = current
        self.following = following
        self.resolved: list[ModelVersion] = []
        self.stuck = False

    async def resolve_again(self, gone: ModelVersion) -> ReleaseParts | None:
        """Move on to the following release."""
        self.resolved.append(gone)
        if self.stuck:
            await asyncio.Event().wait()
        if self.following is not None:
            self.current = self.following
        return self.following


class Tier:
    """A recommender over fakes, with all of them at hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.wall_ms = START_MS
        self.visitors = 0
        self.settings = ServingSettings(answer_size=4, overfetch=5, breaker_failures=2, default_items=(ItemId("d1"),))
        self.registry = CollectorRegistry()
        self.server = FakePredictor()
        self.releases = FakeReleases(FakeRelease())
        self.catalog = FakeCatalog()
        self.board = TrendingBoard(
            LocationSettings(), stale_after_seconds=300, max_places=10, clock=lambda: START_MS / 1000 + self.now
        )
        metrics = ServingMetrics(self.registry)
        self.breaker = CircuitBreaker(failures=2, open_seconds=10, clock=lambda: self.now)
        guarded = GuardedPredictor(self.server, self.breaker, metrics)
        self.batcher = MicroBatcher(guarded, self.settings, clock=lambda: self.now)
        self.recommender = Recommender(
            model=self.batcher,
            gate=self.breaker,
            releases=self.releases,
            popularity=StreamPopularity(half_life_seconds=3600, max_items=100, max_locations=4),
            catalog=self.catalog,
            settings=self.settings,
            metrics=metrics,
            trends=Trends(self.board, ShopsOwn(self.catalog, self.releases)),
            clock=lambda: self.now,
            wall_ms=lambda: self.wall_ms,
        )

    def trend(self, items: str, location: str | None = None) -> None:
        """Let the observer write a list now."""
        self.board.put(location or TRENDING_KEY, trending(items, location), START_MS)

    def click(self, item: str, location: str | None = None, at_ms: int = 0) -> None:
        """Let somebody new click an item."""
        self.visitors += 1
        time_ms = START_MS + at_ms
        visitor_id = VisitorId(f"visitor-{self.visitors}")
        self.recommender.observe(
            Sighting(
                visitor_id=visitor_id,
                item_id=ItemId(item),
                location=location,
                event_time_ms=time_ms,
                arrived_ms=time_ms,
            )
        )

    async def answer(
        self,
        *items: str,
        location: str | None = None,
        deadline: float = FAR,
        bought: str = "",
        personal: bool = True,
        now_ms: int | None = None,
        before: str = "",
    ) -> Answer:
        """Answer a session of views."""
        request = AnswerRequest(
            events=views(items),
            location=location,
            bought=[ItemId(item) for item in bought.split()],
            deadline=deadline,
            want_personal=personal,
            now_ms=now_ms,
            before=[ItemId(item) for item in before.split()],
        )
        return await self.recommender.answer(request)

    def counted(self, tier: str, reason: str) -> float | None:
        """Read the answer counter."""
        return self.registry.get_sample_value("insession_answers_total", {"tier": tier, "reason": reason})


def views(items: Sequence[str]) -> list[SessionEvent]:
    """Return one view a second."""
    return [SessionEvent("view", START_MS + 1000 * place, ItemId(item)) for place, item in enumerate(items)]


def names(answer: Answer) -> str:
    """Join the items of an answer."""
    return " ".join(item.item_id for item in answer.items)


@pytest.fixture
async def tier() -> AsyncIterator[Tier]:
    """Yield a recommender over fakes."""
    tier = Tier()
    yield tier
    await tier.batcher.close()


async def test_the_model_answers_blended_with_the_neighbours(tier: Tier) -> None:
    """With everything there the tier is model, without a reason, with the model's purchase probability."""
    answer = await tier.answer("i10", "i20")
    assert names(answer) == "i21 i22 i23 i19"
    assert (answer.tier, answer.reason, answer.age_ms, answer.model_version) == ("model", None, 0, V1)
    assert (answer.intent, answer.intent_source) == (IntentProbabilities(0.25, 0.125), "model")
    assert [item.score for item in answer.items] == sorted((item.score for item in answer.items), reverse=True)
    assert tier.counted("model", "ok") == 1


@pytest.mark.parametrize(
    "error",
    [
        ModelUnavailableError("away"),
        DeadlineExceededError("late"),
        ServerBusyError("full"),
        BadRequestError("bad row"),
        BadResponseError("bad answer"),
    ],
    ids=lambda error: error.reason,
)
async def test_without_the_model_the_neighbours_answer(tier: Tier, error: PredictError) -> None:
    """Whatever the model's failure, kNN answers, says why, and intent comes from the features."""
    tier.server.fail_next(error)
    answer = await tier.answer("i20")
    assert names(answer) == "i19 i18 i17"
    assert (answer.tier, answer.reason, answer.model_version) == ("knn", error.reason, V1)
    assert (answer.intent.purchase, answer.intent_source) == (pytest.approx(0.1), "features")
    assert tier.counted("knn", error.reason) == 1


async def test_at_the_deadline_the_neighbours_answer(tier: Tier) -> None:
    """A model that hangs costs the deadline and no more."""
    tier.server.hold()
    answer = await tier.answer("i20", deadline=0.02)
    assert (answer.tier, answer.reason) == ("knn", "deadline")
    assert len(tier.server.calls) == 1


async def test_a_request_past_its_deadline_is_answered_without_the_model(tier: Tier) -> None:
    """It says so, apart from a model that is slow; lag never reaches the server and never opens the breaker."""
    for _ in range(5):
        answer = await tier.answer("i20", deadline=-1.0)
        assert (answer.tier, answer.reason) == ("knn", "stale")
    assert tier.server.calls == []
    assert tier.breaker.state == "closed"


async def test_the_latency_of_an_answer_is_its_tiers(tier: Tier) -> None:
    """Every answer is one observation, under the tier that gave it."""
    tier.server.fail_next(ModelUnavailableError("1"))
    await tier.answer("i20")
    await tier.answer("i20")
    for name in ("knn", "model"):
        assert tier.registry.get_sample_value("insession_answer_latency_seconds_count", {"tier": name}) == 1


async def test_an_open_breaker_is_not_waited_for(tier: Tier) -> None:
    """After two failures nothing is sent any more and kNN answers at once."""
    tier.server.fail_next(ModelUnavailableError("1"), ModelUnavailableError("2"))
    await tier.answer("i20")
    await tier.answer("i20")
    answer = await tier.answer("i20")
    assert (answer.tier, answer.reason) == ("knn", "breaker_open")
    assert len(tier.server.calls) == 2


async def test_a_probe_under_way_is_not_waited_for(tier: Tier) -> None:
    """While one call probes the server the other shoppers get their kNN answer at once."""
    tier.server.fail_next(ModelUnavailableError("1"), ModelUnavailableError("2"))
    await tier.answer("i20")
    await tier.answer("i20")
    tier.now = 10.0
    tier.server.hold()
    probe = asyncio.create_task(tier.answer("i20"))
    await tier.server.called(3)
    answer = await tier.answer("i20")
    assert (answer.tier, answer.reason) == ("knn", "breaker_open")
    tier.server.let_go()
    assert (await probe).tier == "model"


async def test_without_neighbours_the_popular_answer(tier: Tier) -> None:
    """Where kNN has nothing either, the release's popular items answer and the reason stays the model's."""
    tier.server.fail_next(ModelUnavailableError("away"))
    answer = await tier.answer("i1")
    assert names(answer) == "i1 i2 i3"
    assert (answer.tier, answer.reason, answer.model_version) == ("popular", "unavailable", V1)


async def test_the_model_is_asked_for_items_that_are_like_the_unseen_ones(tier: Tier) -> None:
    """The tier is model, and the reason says that the shopper's own items are not known."""
    release = tier.releases.current
    assert release is not None
    tier.releases.current = release.with_catalog([CatalogItem(item_id=ItemId("new"))])
    answer = await tier.answer("new")
    assert (names(answer)[:5], answer.tier, answer.reason) == ("i2 i3", "model", "unseen_items")
    assert tier.counted("model", "unseen_items") == 1
    answer = await tier.answer("new", "i20")
    assert (answer.tier, answer.reason) == ("model", None)


async def test_an_item_is_out_at_its_end(tier: Tier) -> None:
    """By the clock, though no record of the catalog comes; the answer before it says until when it holds."""
    tier.catalog.ends = {"i22": START_MS + 1000}
    answer = await tier.answer("i20")
    assert ("i22" in names(answer), answer.valid_until_ms) == (True, START_MS + 1000)
    tier.wall_ms = START_MS + 1000
    answer = await tier.answer("i20")
    assert ("i22" in names(answer), answer.valid_until_ms) == (False, None)


async def test_the_moment_is_that_of_the_answer_and_not_of_the_question(tier: Tier) -> None:
    """An item that ends while the model computes is not in the answer."""
    tier.catalog.ends = {"i22": START_MS + 1000}
    tier.server.hold()
    asked = asyncio.create_task(tier.answer("i20"))
    await tier.server.called(1)
    tier.wall_ms = START_MS + 1000
    tier.server.let_go()
    answer = await asked
    assert (answer.tier, "i22" in names(answer)) == ("model", False)


async def test_a_replay_says_as_of_when(tier: Tier) -> None:
    """Its clock is the log's, for every tier."""
    tier.catalog.ends = {"i22": START_MS + 1000, "d1": START_MS + 2000}
    tier.wall_ms = START_MS + 999_000
    assert "i22" in names(await tier.answer("i20", now_ms=START_MS + 999))
    assert "i22" not in names(await tier.answer("i20", now_ms=START_MS + 1000))
    tier.releases.current = None
    assert names(await tier.answer("i20", now_ms=START_MS + 1999)) == "d1"
    assert names(await tier.answer("i20", now_ms=START_MS + 2000)) == ""


async def test_only_what_is_listed_ends_an_answer(tier: Tier) -> None:
    """An item that found no place in it says nothing of how long it holds."""
    tier.catalog.ends = {"i1": START_MS + 1}
    answer = await tier.answer("i20")
    assert ("i1" in names(answer).split(), answer.valid_until_ms) == (False, None)


async def test_unseen_items_get_popular_ones_and_intent_from_features(tier: Tier) -> None:
    """A session of items that the release does not know asks no model."""
    answer = await tier.answer("new", "newer")
    assert (names(answer), answer.tier, answer.reason) == ("i1 i2 i3", "popular", "unseen_items")
    assert (answer.intent.purchase, answer.intent_source) == (pytest.approx(2 / 11), "features")
    assert tier.server.calls == []


async def test_the_version_names_who_gave_the_probability(tier: Tier) -> None:
    """Items from the default list beside a probability from the release carry the release's version."""
    tier.catalog.unavailable = {"i1", "i2", "i3"}
    answer = await tier.answer("new")
    assert (names(answer), answer.tier, answer.intent_source) == ("d1", "default", "features")
    assert answer.model_version == V1


async def test_without_a_release_the_stream_answers(tier: Tier) -> None:
    """Before the first release what is popular at the location answers; no intent is claimed."""
    tier.releases.current = None
    for item, location in [("a", "north"), ("b", None), ("b", None), ("a", "south"), ("c", "north")]:
        tier.click(item, location)
    answer = await tier.answer("a", "a", location="north")
    assert names(answer) == "a c"
    assert (answer.tier, answer.reason, answer.age_ms, answer.model_version) == ("popular", "no_release", 1000, None)
    assert (answer.intent, answer.intent_source) == (IntentProbabilities(), None)


async def test_an_unknown_location_gets_what_is_popular_over_all(tier: Tier) -> None:
    """A location without events falls back to the whole stream."""
    tier.releases.current = None
    tier.click("b", "north")
    answer = await tier.answer("a", location="west")
    assert (names(answer), answer.tier) == ("b", "popular")


async def test_without_a_stream_the_default_list_answers(tier: Tier) -> None:
    """With nothing popular the settings' list answers."""
    tier.releases.current = None
    answer = await tier.answer("a")
    assert (names(answer), answer.tier, answer.reason) == ("d1", "default", "no_release")


async def test_without_a_default_list_the_catalog_answers(tier: Tier) -> None:
    """Never empty while an available item is known at all."""
    tier.releases.current = None
    tier.catalog.unavailable = {"d1"}
    tier.catalog.known = [ItemId("k1"), ItemId("k2")]
    answer = await tier.answer("a")
    assert (names(answer), answer.tier, answer.reason) == ("k1 k2", "default", "no_release")


async def test_knowing_nothing_is_said(tier: Tier) -> None:
    """An empty answer has no tier and the reason nothing_known."""
    tier.releases.current = None
    tier.catalog.unavailable = {"d1"}
    assert await tier.answer("a") == Answer([], reason="nothing_known")
    assert tier.counted("none", "nothing_known") == 1


async def test_cheap_requests_ask_nothing_personal(tier: Tier) -> None:
    """Late events, bots and shoppers without consent get the popular items and no intent."""
    answer = await tier.answer("i20", personal=False)
    assert (names(answer), answer.tier, answer.reason) == ("i1 i2 i3", "popular", "cheap")
    assert (answer.intent, answer.intent_source) == (IntentProbabilities(), None)
    assert tier.server.calls == []


async def test_cheap_requests_need_no_events(tier: Tier) -> None:
    """A shopper without any state is answered."""
    answer = await tier.answer(personal=False)
    assert (answer.tier, answer.reason, answer.age_ms) == ("popular", "cheap", 0)


async def test_nobody_in_particular_gets_what_an_unknown_visitor_gets(tier: Tier) -> None:
    """The list for a location equals the cheap answer there, filters included, and is not counted as an answer."""
    tier.releases.current = None
    tier.catalog.only_at = {"a": "south"}
    for item in "aab":
        tier.click(item, "north")
    listed = tier.recommender.impersonal("north")
    assert not tier.counted("popular", "cheap")
    assert (names(listed), listed.tier) == ("b", "popular")
    assert names(await tier.answer(location="north", personal=False)) == names(listed)


async def test_over_fetching_fills_the_answer_after_filters(tier: Tier) -> None:
    """Items that are filtered are replaced by the next candidates."""
    tier.catalog.unavailable = {"i21", "i23"}
    assert names(await tier.answer("i20", bought="i19")) == "i22 i18 i17"


async def test_items_bought_in_this_session_are_left_out(tier: Tier) -> None:
    """A purchase inside the session filters the item at once."""
    events = [*views(["i20"]), SessionEvent("purchase", START_MS, ItemId("i21")), *views(["i20"])]
    request = AnswerRequest(events=events, location=None, bought=(), deadline=FAR, want_personal=True)
    answer = await tier.recommender.answer(request)
    assert names(answer) == "i22 i23 i19 i18"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, "i22 i18 i17"),
        ({"recommend_bought": True}, "i21 i22 i23 i19"),
        ({"recommend_bought_in": frozenset({"food"})}, "i21 i22 i23 i18"),
        ({"recommend_bought_in": frozenset({"food/fruit"})}, "i21 i22 i18 i17"),
    ],
)
async def test_what_was_bought_may_come_back_where_the_shop_says_so(
    tier: Tier, rules: dict[str, Any], expected: str
) -> None:
    """Everything, or what is of a category or of one within it: nobody buys bread once."""
    tier.catalog.categories = {"i21": "food/fruit", "i23": "food", "i19": "foodprocessor"}
    settings = replace(tier.recommender.settings, **rules)
    tier.recommender = replace(tier.recommender, settings=settings)
    assert names(await tier.answer("i20", bought="i19 i21 i23")) == expected


async def test_an_item_says_to_which_one_of_the_session_it_is_owed(tier: Tier) -> None:
    """Of the first five, where past sessions say so: here i19 alone, which is a neighbour of i20."""
    answer = await tier.answer("i10", "i20")
    assert [(item.item_id, item.because) for item in answer.items if item.because] == [("i19", "i20")]
    assert all(item.source is None for item in answer.items)


async def test_no_reason_names_what_the_shopper_did_not_look_at(tier: Tier) -> None:
    """A new item is read as the one that it is like, to which all is owed then; that one is not in the session."""

    class OwedToI1(FakeRelease):
        def because(self, item_ids: Sequence[ItemId], _neighbours: Neighbours) -> list[ItemId | None]:
            return [ItemId("i1")] * len(item_ids)

    tier.releases.current = OwedToI1(like_i1=frozenset({ItemId("new")}))
    assert {item.because for item in (await tier.answer("new")).items} == {None}
    assert {item.because for item in (await tier.answer("i1", "i9")).items} == {"i1"}


async def test_only_personal_answers_have_reasons_of_the_session(tier: Tier) -> None:
    """What is popular is owed to nothing in it, though past sessions vote for it."""
    answer = await tier.answer("i4", personal=False)
    assert (names(answer), [item.because for item in answer.items]) == ("i1 i2 i3", [None] * 3)


async def test_what_came_since_training_is_named_new(tier: Tier) -> None:
    """Its place in the list is owed to what it is like."""
    tier.releases.current = FakeRelease(item_count=21)
    answer = await tier.answer("i20")
    assert [(item.item_id, item.source) for item in answer.items][:2] == [("i21", None), ("i22", "new")]


@pytest.mark.parametrize(("bonus", "expected"), [(0.0, "i21 i22 i23 i19"), (0.5, "i23 i21 i22 i19")])
async def test_a_list_keeps_what_it_held_by_the_bonus(tier: Tier, bonus: float, expected: str) -> None:
    """An item that was in the answer before moves up; one that the release does not know changes nothing."""
    tier.recommender = replace(tier.recommender, settings=replace(tier.settings, keep_bonus=bonus))
    assert names(await tier.answer("i10", "i20", before="i23 i4 unknown")) == expected


async def test_what_the_session_looked_at_comes_back_unless_the_shop_says_otherwise(tier: Tier) -> None:
    """Repeats are next clicks as others are."""
    assert names(await tier.answer("i22", "i20")) == "i21 i22 i23 i19"
    tier.recommender = replace(tier.recommender, settings=replace(tier.settings, recommend_seen=False))
    assert names(await tier.answer("i22", "i20")) == "i21 i23 i19 i18"


@pytest.mark.parametrize(
    ("merchants", "expected"),
    [
        ([], "i1 i2 i3"),
        ([rule("r", "block", items="i15")], "i1 i2 i3"),
        ([rule("r", "block", items="i1")], "i2 i3 d1"),
        ([rule("r", "pin", items="i9", position=3)], "i2 i1 i9 i3"),
        ([rule("r", "boost", items="i3", factor=9.0)], "i3 i2 i1"),
    ],
)
async def test_lists_for_all_have_so_many_items_of_a_category(
    tier: Tier, merchants: list[MerchantRule], expected: str
) -> None:
    """With and without merchants' rules, whatever these block, pin and bury; a personal list is what it is about."""
    tier.catalog.categories = {f"i{number}": "shoes" for number in range(30)} | {"i2": "hats"}
    settings = replace(tier.settings, max_per_category=1)
    tier.recommender = replace(tier.recommender, settings=settings, rules=Rules(RuleBook(merchants)))
    assert names(await tier.answer("i4", personal=False)) == expected
    personal = names(await tier.answer("i20")).replace("i9 ", "")
    assert personal.startswith("i21 i22")


async def test_what_is_beyond_the_most_of_a_category_comes_last(tier: Tier) -> None:
    """The list is not shorter for it."""
    tier.catalog.categories = {"i1": "shoes", "i2": "shoes", "i3": "hats"}
    tier.recommender = replace(tier.recommender, settings=replace(tier.settings, max_per_category=1))
    assert names(await tier.answer("i4", personal=False)) == "i1 i3 i2"


@pytest.mark.parametrize(
    ("merchants", "before", "expected"),
    [
        ([], "i23", "i23 i21 i22 i19"),
        ([rule("r", "bury", items="i23", factor=0.99)], "i23", "i21 i22 i23 i19"),
        ([rule("r", "bury", items="i21", factor=0.99)], "i23", "i23 i21 i22 i19"),
        ([rule("r", "boost", items="i23", factor=1.01)], "i23", "i23 i21 i22 i19"),
        ([rule("r", "boost", items="i23", factor=1.01), rule("s", "bury", items="i9")], "i23", "i23 i21 i22 i19"),
        ([rule("r", "block", items="i23")], "i23", "i21 i22 i19 i18"),
        ([rule("r", "pin", items="i23", position=3)], "i23", "i21 i22 i23 i19"),
        ([rule("r", "include", items="i21 i22")], "i23", "i21 i22"),
    ],
)
async def test_a_list_keeps_up_nothing_that_merchants_hold_down(
    tier: Tier, merchants: list[MerchantRule], before: str, expected: str
) -> None:
    """Rules come before the bonus of what was listed."""
    settings = replace(tier.settings, keep_bonus=0.5)
    tier.recommender = replace(tier.recommender, settings=settings, rules=Rules(RuleBook(merchants)))
    assert names(await tier.answer("i10", "i20", before=before)) == expected


async def test_a_tier_filtered_to_nothing_gives_way(tier: Tier) -> None:
    """Where the filters leave nothing of the model's and kNN's items, the popular ones answer and say so."""
    tier.catalog.unavailable = {f"i{index}" for index in range(15, 25)}
    answer = await tier.answer("i20")
    assert (names(answer), answer.tier, answer.reason) == ("i1 i2 i3", "popular", "filtered_out")
    assert (answer.intent, answer.intent_source) == (IntentProbabilities(0.25, 0.125), "model")


async def test_no_labels_means_no_probability(tier: Tier) -> None:
    """A release without labels gives no probability from the features."""
    tier.releases.current = FakeRelease(has_labels=False)
    tier.server.fail_next(ModelUnavailableError("away"))
    answer = await tier.answer("i20")
    assert (answer.intent, answer.intent_source) == (IntentProbabilities(), None)


async def test_a_version_that_is_gone_is_resolved_again_once(tier: Tier) -> None:
    """The row is asked again of the newer release, and the answer names it."""
    tier.server.versions = {V2}
    tier.releases.following = FakeRelease(version=V2)
    answer = await tier.answer("i20")
    assert (answer.tier, answer.reason, answer.model_version) == ("model", None, V2)
    assert [call.version for call in tier.server.calls] == [V1, V2]
    assert tier.releases.resolved == [V1]
    assert tier.breaker.state == "closed"


async def test_a_version_gone_for_good_falls_to_the_neighbours(tier: Tier) -> None:
    """Without another release kNN answers; however often, the breaker stays closed."""
    tier.server.versions = set()
    for _ in range(5):
        answer = await tier.answer("i20")
        assert (answer.tier, answer.reason, answer.model_version) == ("knn", "version_gone", V1)
    assert tier.breaker.state == "closed"


async def test_resolving_again_happens_only_once(tier: Tier) -> None:
    """Where the following release is gone, too, there is no third try."""
    tier.server.versions = set()
    tier.releases.following = FakeRelease(version=V2)
    answer = await tier.answer("i20")
    assert (answer.tier, answer.reason, answer.model_version) == ("knn", "version_gone", V2)
    assert tier.releases.resolved == [V1]


async def test_resolving_again_keeps_to_the_deadline(tier: Tier) -> None:
    """A status call that hangs does not hold the answer."""
    tier.server.versions = set()
    tier.releases.stuck = True
    answer = await tier.answer("i20", deadline=0.02)
    assert (answer.tier, answer.reason) == ("knn", "version_gone")


async def test_a_bug_is_logged_and_answered(tier: Tier) -> None:
    """An exception in the model's tier falls to what needs no release."""
    tier.click("b")
    tier.server.fail_next(KeyError("bug"))
    with capture_logs() as logs:
        answer = await tier.answer("i20")
    assert (names(answer), answer.tier, answer.reason) == ("b", "popular", "internal_error")
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("answer_failed", "error")]


async def test_a_bug_in_the_last_tier_gives_an_empty_answer(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a catalog that raises raises nothing out of `answer`."""

    def broken(_self: FakeCatalog, _item_id: ItemId, _location: str | None) -> bool:
        raise RuntimeError("bug")

    monkeypatch.setattr(FakeCatalog, "allowed", broken)
    with capture_logs() as logs:
        assert await tier.answer("i20") == Answer([], reason="internal_error")
    assert [entry["event"] for entry in logs] == ["answer_failed", "fallback_failed"]


async def test_cancellation_passes_through(tier: Tier) -> None:
    """A cancelled answer is cancelled, not answered."""
    tier.server.hold()
    answer = asyncio.create_task(tier.answer("i20"))
    await tier.server.called(1)
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer


async def test_equal_requests_give_equal_answers(tier: Tier) -> None:
    """Nothing but the request, the release and the catalog moves an answer."""
    first, second = await asyncio.gather(tier.answer("i10", "i20"), tier.answer("i10", "i20"))
    assert first == second


def ruled(tier: Tier, *rules: MerchantRule) -> None:
    """Let rules hold."""
    tier.recommender = replace(tier.recommender, rules=Rules(RuleBook(rules)), wall_ms=lambda: START_MS)


@dataclass(frozen=True)
class Rules:
    """Implements HasRules."""

    book: RuleBook


async def test_rules_hold_for_every_tier(tier: Tier) -> None:
    """Whoever answers; those that changed the list are named."""
    ruled(tier, rule("p", "pin", items="i50", position=2), rule("b", "block", items="i21 i19 i2 d1"))
    answer = await tier.answer("i10", "i20")
    assert (names(answer), answer.tier, answer.reason) == ("i22 i50 i23 i18", "model", None)
    assert [one.rule_id for one in answer.rules] == ["b", "p"]
    tier.server.fail_next(ModelUnavailableError("away"))
    answer = await tier.answer("i10", "i20")
    assert (names(answer), answer.tier) == ("i18 i50 i17 i1", "knn")
    answer = await tier.answer(personal=False)
    assert (names(answer), answer.tier) == ("i1 i50 i3", "popular")
    tier.releases.current = None
    tier.click("i7", location="berlin")
    answer = await tier.answer(location="berlin")
    assert (names(answer), answer.tier) == ("i7 i50", "popular")
    assert names(tier.recommender.impersonal("berlin")) == "i7 i50"


async def test_a_tier_of_which_rules_leave_nothing_gives_way_to_the_next(tier: Tier) -> None:
    """As where the filters do; pins alone are answered where no tier has anything."""
    ruled(tier, rule("b", "block", items="i21 i22 i23 i19 i18 i17"), rule("p", "pin", items="i50", position=1))
    answer = await tier.answer("i20")
    assert (names(answer), answer.tier, answer.reason) == ("i50 i1 i2 i3", "popular", "filtered_out")
    ruled(tier, rule("i", "include", items="i50"), rule("p", "pin", items="i50", position=1))
    answer = await tier.answer("i20")
    assert (names(answer), answer.tier) == ("i50", "model")


async def test_what_an_include_names_is_in_the_order_of_a_tier_that_ranks_something(tier: Tier) -> None:
    """Not of the rule because nobody clicked at the place; where no tier ranks anything it is there all the same."""
    tier.releases.current = None
    tier.click("i8")
    tier.click("i8")
    tier.click("i9")
    ruled(tier, rule("i", "include", items="i9 i8 d1", where=["berlin"]))
    answer = await tier.answer(location="berlin")
    assert (names(answer), answer.tier) == ("i8 i9 d1", "popular")
    tier.settings = replace(tier.settings, default_items=())
    tier.recommender = replace(
        tier.recommender,
        settings=tier.settings,
        popularity=StreamPopularity(half_life_seconds=1, max_items=0, max_locations=0),
    )
    assert names(await tier.answer(location="berlin")) == "i9 i8 d1"


async def test_what_fills_a_personal_list_does_not_pass_for_the_sessions(tier: Tier) -> None:
    """It says what placed it, and is owed to no item of the session."""
    tier.server.fail_next(ModelUnavailableError("away"))
    ruled(tier, rule("b", "block", items="i18"))
    answer = await tier.answer("i20")
    assert answer.tier == "knn"
    told = [(item.item_id, item.source, item.because) for item in answer.items]
    assert told == [("i19", None, "i20"), ("i17", None, "i20"), ("i1", "popular", None)]


async def test_rules_bring_back_nothing_that_is_not_to_be_had(tier: Tier) -> None:
    """Sold out, excluded, bought, or a variant of what was bought."""
    tier.catalog.unavailable = {"i60"}
    tier.catalog.groups = {"i62": "red", "i63": "red"}
    tier.recommender = replace(
        tier.recommender, settings=replace(tier.settings, excluded_items=frozenset({ItemId("i61")}))
    )
    ruled(tier, *(rule(f"p{n}", "pin", items=f"i{n}", position=n - 59) for n in (60, 61, 62)))
    assert names(await tier.answer("i20", bought="i63")) == "i21 i22 i23 i19"


async def test_rules_hold_by_time_place_device_arm_and_pattern(tier: Tier) -> None:
    """The time is the request's where it has one, as in a replay, else that of the answer."""
    began = datetime.fromtimestamp(START_MS / 1000, UTC)
    conditions: list[dict[str, Any]] = [
        {"starts_at": began},
        {"where": ["berlin"]},
        {"device": "phone"},
        {"arm": "b"},
        {"pattern": "focused"},
    ]
    ruled(tier, *(rule(f"r{n}", "block", items=f"i{21 + n}", **one) for n, one in enumerate(conditions)))
    tier.recommender = replace(tier.recommender, pattern=lambda events: "focused" if len(events) == 2 else "browsing")

    async def blocked(*items: str, **fields: Any) -> list[str]:
        known = {"location": None, "bought": (), "deadline": FAR, "want_personal": True} | fields
        answer = await tier.recommender.answer(AnswerRequest(events=views(items), **known))
        return [one.rule_id for one in answer.rules]

    tier.recommender = replace(tier.recommender, settings=replace(tier.settings, answer_size=6))
    assert await blocked("i20") == ["r0"]
    assert await blocked("i20", now_ms=START_MS - 1) == []
    assert await blocked("i20", now_ms=START_MS - 1, location="berlin") == ["r1"]
    assert await blocked("i20", now_ms=0, device="phone") == ["r2"]
    assert await blocked("i21", now_ms=0, arm="b") == ["r3"]
    assert await blocked("i1", "i22", now_ms=0) == ["r4"]
    assert await blocked("i22", now_ms=0) == []


async def test_without_rules_nothing_of_them_is_asked(tier: Tier) -> None:
    """An answer costs nothing more."""

    class Unused(RuleBook):
        def plan(self, asked: Asked, tier: Any) -> Plan | None:
            raise AssertionError(asked, tier)

    tier.recommender = replace(tier.recommender, rules=Rules(Unused(())))
    assert (await tier.answer("i20")).tier == "model"


async def test_what_is_trending_at_the_place_comes_before_what_was_popular_in_training(tier: Tier) -> None:
    """Then what is trending around it, and in training after that; the tier is still called popular."""
    tier.trend("i7 i8 i9 i10 i11")
    tier.trend("i4 i5 i6 i7", "nl/nh")
    answer = await tier.answer(location="nl/nh/ams", personal=False)
    assert (names(answer), answer.tier, answer.reason) == ("i4 i5 i6 i7", "popular", "cheap")
    assert answer.model_version is None
    assert names(await tier.answer(location="de", personal=False)) == "i7 i8 i9 i10"
    assert names(tier.recommender.impersonal("nl/nh")) == "i4 i5 i6 i7"
    assert names(await tier.answer("i20")) == "i21 i22 i23 i19"  # the model is above it


async def test_what_rises_at_the_place_has_its_share_of_a_personal_answer(tier: Tier) -> None:
    """With the source that says so; nothing elsewhere, and nothing where the shop does not want it or it is stale."""
    rises = trending("i40 i22", "nl", rising={"i40": 0.3, "i22": 0.1})
    tier.board.put("nl", rises, START_MS)
    tier.trend("i7 i8")
    answer = await tier.answer("i10", "i20", location="nl/nh")
    assert [(item.item_id, item.source) for item in answer.items] == [
        ("i21", None),
        ("i40", "rising"),
        ("i22", None),
        ("i23", None),
    ]
    assert answer.tier == "model"
    assert names(await tier.answer("i10", "i20", location="de")) == "i21 i22 i23 i19"
    tier.catalog.unavailable = {"i40"}
    assert names(await tier.answer("i10", "i20", location="nl")) == "i21 i22 i23 i19"
    tier.catalog.unavailable = set()
    without = replace(tier.recommender, settings=replace(tier.settings, mix_rising=False))
    request = AnswerRequest(events=views(["i10", "i20"]), location="nl", bought=(), deadline=FAR, want_personal=True)
    assert names(await without.answer(request)) == "i21 i22 i23 i19"
    tier.now += 301
    assert names(await tier.answer("i10", "i20", location="nl")) == "i21 i22 i23 i19"


async def test_an_answer_says_what_its_scores_rest_on_beside_the_release(tier: Tier) -> None:
    """Whoever compares them with the release's own must know; lists for strangers rest on none of that."""
    tier.recommender = replace(tier.recommender, settings=replace(tier.settings, keep_bonus=0.5))
    assert (await tier.answer("i20")).adjusted_by == ()
    assert (await tier.answer("i20", before="i23")).adjusted_by == ("kept",)
    tier.releases.current = FakeRelease(told=trending("i7"))
    tier.board.put("nl", trending("i40", "nl", rising={"i40": 0.3}), START_MS)
    tier.trend("i7 i8")
    assert (await tier.answer("i20", before="i23", location="nl")).adjusted_by == ("viewed", "kept", "rising")
    assert (await tier.answer("i20", location="de")).adjusted_by == ("viewed",)
    assert (await tier.answer(personal=False)).adjusted_by == ()


async def test_what_is_trending_is_filtered(tier: Tier) -> None:
    """What is sold out, or not sold at the place, is left out; where nothing is left the next list is answered."""
    tier.trend("i7 i8 i9 i10 i11")
    tier.trend("i4 i5 i6 i7 i8", "nl")
    tier.catalog.unavailable = {"i4"}
    tier.catalog.only_at = {"i6": "de"}
    assert names(await tier.answer(location="nl", personal=False)) == "i5 i7 i8 i9"
    tier.catalog.unavailable = {f"i{number}" for number in range(4, 9)} | {"i1", "i2", "i3"}
    assert names(await tier.answer(location="nl", personal=False)) == "i9 i10 i11"


async def test_a_short_list_of_what_is_trending_is_filled_from_training(tier: Tier) -> None:
    """A shop that has just begun to count has no shorter lists for it; scores go on falling, nothing comes twice."""
    tier.trend("i2 i9")
    answer = await tier.answer(personal=False)
    assert names(answer) == "i2 i9 i1 i3"
    scores = [item.score for item in answer.items]
    assert scores == sorted(scores, reverse=True)
    tier.trend("spam")
    assert (names(await tier.answer(personal=False)), tier.counted("popular", "cheap")) == ("i1 i2 i3", 2)


async def test_an_item_that_a_foreign_list_names_twice_is_listed_once(tier: Tier) -> None:
    """Whoever may write to the topic decides what it says."""
    tier.trend("i2 i9 i2 i9 i4")
    assert names(await tier.answer(personal=False)) == "i2 i9 i4 i1"


@pytest.mark.parametrize("has_release", [True, False])
async def test_a_short_list_of_a_place_is_filled_from_those_around_it_first(tier: Tier, *, has_release: bool) -> None:
    """Then from training, or from the stream where there is no release: nobody has a shorter list for having counts."""
    if not has_release:
        tier.releases.current = None
    tier.trend("i9", "nl/nh/ams")
    tier.trend("i8 i9", "nl")
    tier.trend("i7 i8")
    for item in ("i5", "i5", "i6"):
        tier.click(item)
    found = tier.recommender.impersonal("nl/nh/ams").items
    assert [item.item_id for item in found] == ["i9", "i8", "i7", "i1" if has_release else "i5"]
    assert [item.source for item in found] == ["trending", "trending", "trending", None]
    scores = [item.score for item in found]
    assert scores == sorted(scores, reverse=True)


async def test_lists_that_are_stale_are_not_answered_and_it_is_said(tier: Tier) -> None:
    """Only where nothing personal was asked for: else why the model did not answer is what matters."""
    tier.trend("i7 i8 i9 i10")
    tier.now += 301
    answer = await tier.answer("i20", personal=False)
    assert (names(answer), answer.reason) == ("i1 i2 i3", "trending_stale")
    tier.server.fail_next(ModelUnavailableError("away"))
    assert (await tier.answer("i20")).reason == "unavailable"


async def test_an_answer_of_what_is_trending_says_how_old_that_is(tier: Tier) -> None:
    """From the event to the latest one that the list counts."""
    now = trending("i7 i8 i9 i10")
    counted = now.event_time - timedelta(milliseconds=unix_ms(now.event_time) - START_MS)
    tier.board.put(TRENDING_KEY, replace_fields(now, event_time=counted), START_MS)
    answer = await tier.answer("i20", "i20", "i20", personal=False)
    assert (names(answer), answer.age_ms) == ("i7 i8 i9 i10", 2000)
