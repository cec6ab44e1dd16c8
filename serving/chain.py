"""The fallback chain: GRU blended with session-kNN > session-kNN > popular > default list. It never raises.

Every answer says which tier gave it and why no higher one did.
"""

import asyncio
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final, Protocol

import structlog
from msgspec import Struct, field, structs

from schemas.ids import ItemId, ModelVersion, RuleId, VisitorId
from schemas.ranking import NO_INTENT, Candidates, IntentProbabilities, ModelInput, ModelOutput, Neighbours
from schemas.records import (
    PERSONAL_TIERS,
    Adjustment,
    IntentSource,
    ItemSource,
    Pattern,
    RecommendedItem,
    SessionEvent,
    Tier,
)
from schemas.rules import MerchantRule
from schemas.tracing import TraceContext
from serving.batcher import Question
from serving.errors import ModelNotFoundError, PredictError, Reason
from serving.filters import (
    CatalogView,
    FilterRules,
    allowed_items,
    at_most_of_category,
    may_be_listed,
    named,
    top_k,
)
from serving.metrics import ServingMetrics
from serving.parts import ReleaseParts
from serving.popular import Sighting, StreamPopularity
from serving.rules.book import NO_RULES, Asked, Plan, RuleBook
from serving.rules.facts import CatalogFacts
from serving.rules.placing import Listing, place
from serving.rules.targets import categories_above
from serving.settings import ServingSettings
from serving.trending import Trends, with_rising

log = structlog.get_logger(__name__)

EXPLAINED_ITEMS: Final = 5
"""Of an answer, its first: a reason costs bytes in every record, and shops show it with the first ones."""


class AnswerRequest(Struct, frozen=True, kw_only=True, gc=False):
    """What is known of the shopper.

    events: of the open session, oldest first. bought: items bought in earlier sessions.
    deadline: seconds of the monotonic clock by which the model must have answered; may be infinite.
    want_personal: False for late events, bots and shoppers without consent: only what is the same for everybody.
    visitor_id: None where nobody in particular asks. before: the items of the answer before in this session.
    now_ms: as of when items must be available, Unix milliseconds; None = when the answer is made.
    device, arm: of the click, for rules that name one; arm of the shop's own experiment.
    """

    events: Sequence[SessionEvent]
    location: str | None
    bought: Sequence[ItemId]
    deadline: float
    want_personal: bool
    trace: TraceContext | None = None
    visitor_id: VisitorId | None = None
    now_ms: int | None = None
    device: str | None = None
    arm: str | None = None
    before: Sequence[ItemId] = ()


class Answer(Struct, frozen=True, gc=False):
    """What is recommended, and where it comes from.

    tier is None where `items` is empty; reason is None where the model answered, but for `unseen_items`: it was asked
    for items that are like the shopper's.
    age_ms: from the event in question back to the latest event that a popular answer counted; 0 for the other tiers.
    model_version: of the release that gave the items, or else the probabilities.
    intent_source: None where no probability is known.
    valid_until_ms: when the first of the items, or its sale where the shopper is, ends, Unix; None = none does.
    rules: merchants' rules that changed the list, by id.
    adjusted_by: what the scores rest on beside the release.
    """

    items: list[RecommendedItem]
    tier: Tier | None = None
    reason: Reason | None = None
    age_ms: int = 0
    model_version: ModelVersion | None = None
    intent: IntentProbabilities = NO_INTENT
    intent_source: IntentSource | None = None
    valid_until_ms: int | None = None
    rules: Sequence[MerchantRule] = ()
    adjusted_by: tuple[Adjustment, ...] = ()


class Answering(Protocol):
    """Who answers shoppers: a `Recommender`, or a `TriedRecommender` that has two."""

    def observe(self, seen: Sighting) -> None:
        """Count an accepted item event for what is popular in the stream."""

    async def answer(self, request: AnswerRequest) -> Answer:
        """Recommend. Never raises."""


class Model(Protocol):
    """Asks the model for one row; see `MicroBatcher`."""

    async def rank(self, question: Question) -> ModelOutput:
        """Answer with the blend, by the question's deadline; raises a PredictError."""


class Gate(Protocol):
    """Says beforehand that the model need not be asked; see `CircuitBreaker`."""

    @property
    def refuses(self) -> bool:
        """Return whether a call would not be sent."""


class Releases(Protocol):
    """The release in use; see `ReleaseWatcher`."""

    @property
    def current(self) -> ReleaseParts | None:
        """Return the release in use."""

    async def resolve_again(self, gone: ModelVersion) -> ReleaseParts | None:
        """Return another release than `gone`."""


class HasRules(Protocol):
    """Merchants' rules; see `RuleView`."""

    @property
    def book(self) -> RuleBook:
        """Return the rules as they are now."""


class NoMerchant:
    """Implements HasRules, without any."""

    book: Final = NO_RULES


NO_MERCHANT: Final = NoMerchant()


class _Asked(Struct, frozen=True, gc=False):
    """How far the personal tiers came. `row` and `neighbours` are of `release`; `output` has the blend."""

    release: ReleaseParts | None
    reason: Reason | None
    row: ModelInput | None = None
    neighbours: Neighbours = field(default_factory=Neighbours.none)
    output: ModelOutput | None = None


class _Ranking(Struct, frozen=True, gc=False):
    """One tier's items, best first, before filtering."""

    tier: Tier
    items: Iterator[RecommendedItem]
    model_version: ModelVersion | None = None
    age_ms: int = 0
    adjusted_by: tuple[Adjustment, ...] = ()


@dataclass(slots=True)
class _Holding:
    """The merchants' rules that hold for one answer; asked: None = there is no rule at all."""

    book: RuleBook
    now_ms: int
    asked: Asked | None
    plans: dict[Tier, Plan | None] = dataclasses.field(default_factory=dict)

    def plan(self, tier: Tier) -> Plan | None:
        """Return those that hold in a list of this tier, looked up once; None where none does."""
        if self.asked is None:
            return None
        if tier not in self.plans:
            self.plans[tier] = self.book.plan(self.asked, tier)
        return self.plans[tier]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommender:
    """Answers for one shopper at a time; holds no state but what is popular in the stream.

    clock: monotonic seconds. wall_ms: Unix milliseconds, by which items and rules begin and end. pattern: tells the
    shopping pattern of a session, for rules that name one; without it they hold for nobody.
    """

    model: Model
    gate: Gate
    releases: Releases
    popularity: StreamPopularity
    catalog: CatalogView
    settings: ServingSettings
    metrics: ServingMetrics
    trends: Trends = dataclasses.field(default_factory=Trends)
    clock: Callable[[], float] = time.monotonic
    wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    rules: HasRules = NO_MERCHANT
    pattern: Callable[[Sequence[SessionEvent]], Pattern] | None = None

    def observe(self, seen: Sighting) -> None:
        """Count an accepted item event for what is popular in the stream."""
        self.popularity.add(seen)

    async def answer(self, request: AnswerRequest) -> Answer:
        """Recommend, from the highest tier that has something left after the filters. Never raises."""
        started = self.clock()
        try:
            answer = self._answered(request, await self._ask(request))
        except Exception:
            log.exception("answer_failed")
            answer = self._without_release(request)
        self.metrics.answered(answer.tier, answer.reason, self.clock() - started)
        return answer

    def impersonal(self, location: str | None) -> Answer:
        """Recommend to somebody at `location` of whom nothing is known. Unlike an answer it is not counted."""
        request = AnswerRequest(events=(), location=location, bought=(), deadline=math.inf, want_personal=False)
        rankings, holding = self._impersonal(request, self.releases.current), self._holding(request)
        return self._first_with_items(request, rankings, "cheap", holding)

    async def _ask(self, request: AnswerRequest) -> _Asked:
        """Ask the personal tiers; a version that is gone from the server is resolved again once."""
        release = self.releases.current
        if not request.want_personal:
            return _Asked(release, "cheap")
        if release is None:
            return _Asked(None, "no_release")
        asked, gone = await self._ask_release(release, request)
        if not gone:
            return asked
        try:
            remaining = request.deadline - self.clock()
            async with asyncio.timeout(None if math.isinf(remaining) else max(0.0, remaining)):
                other = await self.releases.resolve_again(release.version)
        except TimeoutError:
            return asked
        if other is None:
            return asked
        asked, _ = await self._ask_release(other, request)
        return asked

    async def _ask_release(self, release: ReleaseParts, request: AnswerRequest) -> tuple[_Asked, bool]:
        """Ask one release's kNN, then its model; True = the server does not have its version.

        The kNN goes first: at the deadline its answer is there at once.
        """
        row = release.encode(request.events)
        if not len(row.items):
            return _Asked(release, "unseen_items", row), False
        neighbours = release.neighbours(row.items)
        if request.deadline - self.clock() < self.settings.min_budget.total_seconds():
            return _Asked(release, "stale", row, neighbours), False
        if self.gate.refuses:
            return _Asked(release, "breaker_open", row, neighbours), False
        try:
            output = await self.model.rank(Question(release, row, neighbours, request.deadline, request.trace))
        except PredictError as error:
            return _Asked(release, error.reason, row, neighbours), isinstance(error, ModelNotFoundError)
        return _Asked(release, "unseen_items" if row.is_by_content else None, row, neighbours, output), False

    def _answered(self, request: AnswerRequest, asked: _Asked) -> Answer:
        intent, source = _intent(asked)
        holding = self._holding(request)
        answer = self._first_with_items(request, self._rankings(request, asked, holding), asked.reason, holding)
        version, reason = answer.model_version, answer.reason
        if reason == "cheap" and self.trends.is_stale:
            reason = "trending_stale"
        if source is not None and asked.release is not None:
            version = asked.release.version
        items = self._explained(request, asked, answer) if answer.tier in PERSONAL_TIERS else answer.items
        return structs.replace(
            answer, items=items, reason=reason, model_version=version, intent=intent, intent_source=source
        )

    def _explained(self, request: AnswerRequest, asked: _Asked, answer: Answer) -> list[RecommendedItem]:
        """Say of the first items to which one of the session each is owed, where that is known.

        An item that training did not see is read as another one, which the shopper need not have looked at.
        """
        release, looked_at = asked.release, {event.item_id for event in request.events}
        if release is None:
            return answer.items
        items = answer.items.copy()
        of_session = [(at, item) for at, item in enumerate(items[:EXPLAINED_ITEMS]) if item.source is None]
        causes = release.because([item.item_id for _, item in of_session], asked.neighbours)
        for (at, item), cause in zip(of_session, causes, strict=True):
            if cause is not None and cause != item.item_id and cause in looked_at:
                items[at] = RecommendedItem(item.item_id, item.score, item.rule, because=cause)
        return items

    def _without_release(self, request: AnswerRequest) -> Answer:
        """Answer after a bug in a higher tier: from what needs neither release nor model."""
        try:
            rankings, holding = self._impersonal(request, None), self._holding(request)
            return self._first_with_items(request, rankings, "internal_error", holding)
        except Exception:
            log.exception("fallback_failed")
            return Answer([], reason="internal_error")

    def _holding(self, request: AnswerRequest) -> _Holding:
        now_ms, book = self._now_ms(request), self.rules.book
        return _Holding(book, now_ms, self._asked_of_rules(request, now_ms) if len(book) else None)

    def _first_with_items(
        self, request: AnswerRequest, rankings: Iterator[_Ranking], reason: Reason | None, holding: _Holding
    ) -> Answer:
        filters = self._filters(request, holding.now_ms)
        pins_alone, emptied_by = None, dict[RuleId, MerchantRule]()
        for ranking in rankings:
            plan = holding.plan(ranking.tier)
            if plan is None:
                allowed: Iterator[RecommendedItem] = allowed_items(ranking.items, filters, self.catalog)
                if most := self._most_of_category(ranking.tier):
                    allowed = at_most_of_category(allowed, self.catalog.category, most)
                items = top_k(allowed, self.settings.answer_size)
                if items:
                    return self._answer(ranking, reason, filters, items)
            else:
                listing = self._listing(filters, ranking.tier)
                placed = place(ranking.items, plan, listing, (_filling(lower, ranking.tier) for lower in rankings))
                by = tuple(plan.by_id[rule_id] for rule_id in sorted(placed.by))
                if placed.has_ranked:
                    return self._answer(ranking, reason, filters, placed.items, by)
                emptied_by |= {rule.rule_id: rule for rule in by}
                if placed.items and pins_alone is None:
                    pins_alone = self._answer(ranking, reason, filters, placed.items, by)
            if reason is None or ranking.tier == "model":
                reason = "filtered_out"
        return pins_alone or Answer([], reason="nothing_known", rules=tuple(emptied_by.values()))

    def _answer(
        self,
        ranking: _Ranking,
        reason: Reason | None,
        filters: FilterRules,
        items: list[RecommendedItem],
        rules: Sequence[MerchantRule] = (),
    ) -> Answer:
        ends_ms = self.catalog.earliest_end_ms((item.item_id for item in items), filters.location, filters.now_ms)
        return Answer(
            items,
            ranking.tier,
            reason,
            ranking.age_ms,
            ranking.model_version,
            valid_until_ms=ends_ms,
            rules=rules,
            adjusted_by=ranking.adjusted_by,
        )

    def _most_of_category(self, tier: Tier) -> int:
        """Return how many items of a category a list may have; what is made for one shopper any number, 0."""
        return 0 if tier in PERSONAL_TIERS else self.settings.max_per_category

    def plan(self, request: AnswerRequest, tier: Tier) -> Plan | None:
        """Return the merchants' rules that hold for an answer of this tier; None where none does."""
        return self._holding(request).plan(tier)

    def listing(self, request: AnswerRequest, tier: Tier) -> Listing:
        """Return what decides about a list of this tier beside rules."""
        return self._listing(self._filters(request, self._now_ms(request)), tier)

    def _now_ms(self, request: AnswerRequest) -> int:
        """Return as of when items must be available; asked when the answer is made, after the wait for the model."""
        return self.wall_ms() if request.now_ms is None else request.now_ms

    def _filters(self, request: AnswerRequest, now_ms: int) -> FilterRules:
        bought = frozenset(request.bought) | {
            event.item_id for event in request.events if event.event_type == "purchase" and event.item_id is not None
        }
        excluded = self.settings.excluded_items
        if not self.settings.recommend_seen:
            excluded |= {event.item_id for event in request.events if event.item_id is not None}
        return FilterRules(request.location, now_ms, self._not_again(bought), excluded)

    def _asked_of_rules(self, request: AnswerRequest, now_ms: int) -> Asked:
        return Asked(now_ms, request.location, request.device, request.arm, partial(self._pattern, request.events))

    def _pattern(self, events: Sequence[SessionEvent]) -> Pattern | None:
        return self.pattern(events) if self.pattern is not None and events else None

    def _listing(self, filters: FilterRules, tier: Tier) -> Listing:
        facts = CatalogFacts(self.catalog, filters.location, filters.now_ms)
        may_be = may_be_listed(filters, self.catalog)
        return Listing(may_be, facts, self.settings.answer_size, self._most_of_category(tier))

    def _not_again(self, bought: frozenset[ItemId]) -> frozenset[ItemId]:
        """Leave out of what was bought what may come back: everything, or what is of certain categories."""
        settings = self.settings
        if settings.recommend_bought:
            return frozenset()
        if not settings.recommend_bought_in:
            return bought
        return frozenset(item_id for item_id in bought if not self._may_return(self.catalog.category(item_id)))

    def _may_return(self, category: str | None) -> bool:
        kept = self.settings.recommend_bought_in
        return category is not None and any(above in kept for above in categories_above(category))

    def _rankings(self, request: AnswerRequest, asked: _Asked, holding: _Holding) -> Iterator[_Ranking]:
        """Return every tier's ranking, best tier first; nothing is computed before it is looked at."""
        if asked.release is not None and asked.row is not None:
            if asked.output is not None:
                yield self._personal("model", asked.release, asked.output.candidates, request, holding)
            near = asked.release.with_cold_items(asked.neighbours)
            yield self._personal("knn", asked.release, near, request, holding)
        yield from self._impersonal(request, asked.release)

    def _impersonal(self, request: AnswerRequest, release: ReleaseParts | None) -> Iterator[_Ranking]:
        time_ms = request.events[-1].time_ms if request.events else 0
        for depth, trending in enumerate(self.trends.rankings(request.location), 1):
            age_ms = max(0, time_ms - trending.event_time_ms) if time_ms else 0
            wider = self._wider(request.location, depth, release)
            yield _Ranking("popular", self._filled(trending.items, wider), age_ms=age_ms)
        if release is not None:
            yield self._ranking("popular", release, release.popular())
        age_ms = self.popularity.age_ms(time_ms) if request.events else 0
        for location in dict.fromkeys((request.location, None)):
            yield _Ranking("popular", self.popularity.top(location, self._depth), age_ms=age_ms)
        yield _Ranking("default", _unscored(self.settings.default_items))
        yield _Ranking("default", _unscored(self.catalog.available_items(self._depth, self._now_ms(request))))

    def _wider(
        self, location: str | None, depth: int, release: ReleaseParts | None
    ) -> Iterator[Iterator[RecommendedItem]]:
        """Return what fills the `depth`-th list of what is trending at a location.

        The lists of the places around that one; then what was popular in training, without a release in the stream.
        """
        for trending in islice(self.trends.rankings(location), depth, None):
            yield trending.items
        if release is not None:
            yield self._ranking("popular", release, release.popular()).items
        else:
            for around in dict.fromkeys((location, None)):
                yield self.popularity.top(around, self._depth)

    def _filled(
        self, trending: Iterator[RecommendedItem], wider: Iterator[Iterator[RecommendedItem]]
    ) -> Iterator[RecommendedItem]:
        """Return what is trending, and where that is little what fills it, scores falling; nothing where it is nothing.

        A shop that has just begun to count must not have shorter lists for it.
        """
        listed, least = set[ItemId](), 0.0
        for item in islice(trending, self._depth):
            if item.item_id not in listed:  # whoever wrote the list
                listed.add(item.item_id)
                least = item.score
                yield item
        if not listed:
            return
        for further in wider:
            begin, best = least, None
            for item in islice(further, self._depth):
                best = best or item.score or 1.0
                if item.item_id not in listed:
                    listed.add(item.item_id)
                    least = begin * min(1.0, item.score / best)
                    yield RecommendedItem(item.item_id, least, source=item.source)

    def _personal(
        self, tier: Tier, release: ReleaseParts, candidates: Candidates, request: AnswerRequest, holding: _Holding
    ) -> _Ranking:
        """Return a ranking of the session, with what rises at the place and what the list before held."""
        adjusted: tuple[Adjustment, ...] = ("viewed",) if release.is_renewed else ()
        if self.settings.keep_bonus and request.before:
            adjusted += ("kept",)
            before = self._not_buried(request, holding.plan(tier), holding.now_ms)
            candidates = release.with_kept(candidates, before, self.settings.keep_bonus)
        ranking = self._ranking(tier, release, candidates, adjusted)
        rising = self.trends.rising(request.location) if self.settings.mix_rising and len(candidates) else {}
        if not rising:
            return ranking
        looked_at = Candidates(candidates.item_indices[: self._depth], candidates.scores[: self._depth])
        own = release.scores_of(looked_at, list(rising))
        items = with_rising(ranking.items, float(candidates.scores.sum()), rising, own)
        return structs.replace(ranking, items=items, adjusted_by=(*adjusted, "rising"))

    def _not_buried(self, request: AnswerRequest, plan: Plan | None, now_ms: int) -> Sequence[ItemId]:
        """Return what the list before held, without what a rule buries: that is not to be kept up."""
        if plan is None or not plan.buries:
            return request.before
        facts = CatalogFacts(self.catalog, request.location, now_ms)
        verdict, record_of = plan.verdicts(facts), facts.record
        return [
            item_id
            for item_id in request.before
            if (rule := verdict(item_id, record_of(item_id)).weighed_by) is None or rule.action != "bury"
        ]

    def _ranking(
        self, tier: Tier, release: ReleaseParts, candidates: Candidates, adjusted: tuple[Adjustment, ...] = ()
    ) -> _Ranking:
        items = named(candidates, release.item_id, at_most=self._depth, trained_items=release.trained_items)
        return _Ranking(tier, items, release.version, adjusted_by=adjusted)

    @property
    def _depth(self) -> int:
        """Candidates looked at, so that an answer's places can be filled after the filters."""
        return self.settings.answer_size * self.settings.overfetch


def _unscored(item_ids: Sequence[ItemId]) -> Iterator[RecommendedItem]:
    return (RecommendedItem(item_id, 0.0) for item_id in item_ids)


def _intent(asked: _Asked) -> tuple[IntentProbabilities, IntentSource | None]:
    """Return the probabilities: the model's, else the release's own from the prefix features."""
    if asked.output is not None and asked.output.intent.is_known:
        return asked.output.intent, "model"
    if asked.release is None or asked.row is None:
        return NO_INTENT, None
    intent = asked.release.intent(asked.row.features)
    return intent, "features" if intent.is_known else None


def _filling(ranking: _Ranking, tier: Tier) -> Iterator[RecommendedItem]:
    """Return a ranking as it fills a list of another tier: its items say what placed them, where that tier does not."""
    if ranking.tier == tier or ranking.tier in PERSONAL_TIERS:
        return iter(ranking.items)
    source: ItemSource = "popular" if ranking.tier == "popular" else "default"
    return (item if item.source is not None else structs.replace(item, source=source) for item in ranking.items)
