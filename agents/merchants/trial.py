"""What rules would do: to one list, by the recommender of a worker; and to the hit rate on a log, by replay."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from msgspec import Struct
from prometheus_client import CollectorRegistry

from agents.replay import replay_log
from agents.settings import Settings
from agents.wiring import described_catalog, described_rules
from schemas import wire
from schemas.events import EVENT_FACTS, ClickEvent
from schemas.ids import ItemId, RuleId
from schemas.ranking import ModelOutput
from schemas.records import CatalogItem, RecommendedItem, SessionEvent
from schemas.rules import MerchantRule
from serving.batcher import Question
from serving.chain import Answer, AnswerRequest, Recommender
from serving.errors import ModelUnavailableError
from serving.metrics import ServingMetrics
from serving.parts import OneRelease, ReleaseParts
from serving.popular import Sighting, StreamPopularity
from serving.rules.explained import Made, hidden_rules
from session_model.intent.patterns import pattern_of

_EVENT_MS: Final = 1_000


class Scene(Struct, frozen=True, kw_only=True):
    """For whom a list is shown, where and when.

    at_ms: Unix milliseconds. viewed: items of the shopper's session, oldest first; none = the list for everybody.
    """

    at_ms: int
    location: str | None = None
    device: str | None = None
    arm: str | None = None
    viewed: Sequence[ItemId] = ()

    @property
    def request(self) -> AnswerRequest:
        """Return what a recommender is asked."""
        first_ms = self.at_ms - _EVENT_MS * len(self.viewed)
        return AnswerRequest(
            events=[
                SessionEvent("view", first_ms + _EVENT_MS * place, item_id) for place, item_id in enumerate(self.viewed)
            ],
            location=self.location,
            bought=(),
            deadline=math.inf,
            want_personal=bool(self.viewed),
            now_ms=self.at_ms,
            device=self.device,
            arm=self.arm,
        )


class Shown(Struct, frozen=True, kw_only=True):
    """One list before and after.

    applied: rules that changed it. hidden: of the others that hold, those that another rule hides, and which.
    not_in_force: rules that do not hold for this list.
    """

    tier: str | None
    before: Sequence[RecommendedItem]
    after: Sequence[RecommendedItem]
    applied: Sequence[RuleId]
    hidden: Mapping[RuleId, RuleId]
    not_in_force: Sequence[RuleId]


class Cost(Struct, frozen=True, kw_only=True):
    """What rules do to the answers of a log. hit rates: of the next item of a session among the first 20.

    applied: answers that each rule changed.
    """

    answers: int
    targets: int
    hit_rate_before: float | None
    hit_rate_after: float | None
    applied: Mapping[RuleId, int]

    @property
    def hit_rate_lost(self) -> float | None:
        """Return how much lower it is; None where the log has no next item."""
        if self.hit_rate_before is None or self.hit_rate_after is None:
            return None
        return self.hit_rate_before - self.hit_rate_after


@dataclass(frozen=True, slots=True)
class Shop:
    """What the lists are made from.

    events: the log, in event-time order; what is popular is what was clicked in it. release: None = there is none.
    """

    settings: Settings
    catalog: Sequence[CatalogItem] = ()
    events: Sequence[ClickEvent] = ()
    release: ReleaseParts | None = None

    def recommender(self, rules: Iterable[MerchantRule], at_ms: int, *, answer_size: int | None = None) -> Recommender:
        """Build the recommender of a worker whose model server is away: session-kNN is the highest of its tiers."""
        serving = self.settings.serving
        popularity = StreamPopularity(
            half_life_seconds=serving.popular_half_life.total_seconds(),
            max_items=serving.popular_max_items,
            max_locations=serving.popular_max_locations,
        )
        for event in self.events:
            shows_interest = EVENT_FACTS[event.event_type].shows_interest
            if shows_interest and event.item_id is not None and event.event_time_ms <= at_ms:
                popularity.add(_sighting(event, event.item_id))
        release = self.release
        return Recommender(
            model=_NoModel(),
            gate=_Shut(),
            releases=OneRelease(release.with_catalog(self.catalog) if release and self.catalog else release),
            popularity=popularity,
            catalog=described_catalog(self.settings, self.catalog),
            settings=replace(serving, answer_size=answer_size or serving.answer_size),
            metrics=ServingMetrics(CollectorRegistry()),
            rules=described_rules(self.settings, rules),
            pattern=pattern_of,
        )


def show(shop: Shop, rules: Sequence[MerchantRule], scene: Scene) -> Shown:
    """Make the list of a scene without and with the rules."""
    request = scene.request
    before = _answer(shop.recommender((), scene.at_ms), request)
    recommender = shop.recommender(rules, scene.at_ms)
    after = _answer(recommender, request)
    by = [rule.rule_id for rule in after.rules]
    tier = after.tier or before.tier  # of a list that the rules have emptied
    plan = None if tier is None else recommender.plan(request, tier)
    hidden: Mapping[RuleId, RuleId] = {}
    if plan is not None and tier is not None:
        everything = shop.settings.serving.answer_size * shop.settings.serving.overfetch
        ranked = _answer(shop.recommender((), scene.at_ms, answer_size=everything), request).items
        hidden = hidden_rules(plan, ranked, recommender.listing(request, tier), Made(after.items, by))
    holding = set() if plan is None else {rule.rule_id for rule in plan.rules}
    return Shown(
        tier=after.tier,
        before=before.items,
        after=after.items,
        applied=by,
        hidden=hidden,
        not_in_force=[rule.rule_id for rule in rules if rule.rule_id not in holding],
    )


def cost(
    settings: Settings,
    rules: Sequence[MerchantRule],
    events: Sequence[ClickEvent],
    catalog: Sequence[CatalogItem],
    advance: Callable[[int], None],
) -> Cost:
    """Replay a log without and with the rules, by the server and models of `settings.serving`, if any is there.

    advance: told of the events that are done, twice the log's in all.
    """
    reports, applied = [], Counter[RuleId]()
    with ExitStack() as stack:
        for tried in ((), rules):
            out = Path(stack.enter_context(TemporaryDirectory(prefix="insession-rules-")))
            reports.append(asyncio.run(replay_log(events, settings, out, advance, catalog, rules=tried)))
            applied = _changed_by(out / "recommendations.jsonl")
    before, after = reports
    return Cost(
        answers=sum(after.records.values()),
        targets=after.targets,
        hit_rate_before=before.hits / before.targets if before.targets else None,
        hit_rate_after=after.hits / after.targets if after.targets else None,
        applied=applied,
    )


def _changed_by(recommendations: Path) -> Counter[RuleId]:
    counted = Counter[RuleId]()
    with recommendations.open("rb") as file:
        for line in file:
            counted.update(wire.decode_recommendation_set(line).rules or ())
    return counted


def _answer(recommender: Recommender, request: AnswerRequest) -> Answer:
    return asyncio.run(recommender.answer(request))


def _sighting(event: ClickEvent, item_id: ItemId) -> Sighting:
    return Sighting(
        visitor_id=event.visitor_id,
        item_id=item_id,
        location=event.location,
        event_time_ms=event.event_time_ms,
        arrived_ms=event.event_time_ms,
    )


class _NoModel:
    """Implements serving.chain.Model."""

    async def rank(self, question: Question) -> ModelOutput:  # noqa: ARG002
        """Never answer."""
        raise ModelUnavailableError("no model server takes part in a trial of one list")


class _Shut:
    """Implements serving.chain.Gate."""

    refuses: Final = True
