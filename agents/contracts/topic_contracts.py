"""What each topic promises to those who write or read it; docs/consumers.md tells the same at length."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from schemas.events import ClickEvent, Erase, Tick
from schemas.handovers import Adoption, Handover
from schemas.records import (
    CatalogItem,
    DefaultRecommendations,
    IntentSignal,
    RecommendationOutcome,
    RecommendationSet,
    SessionSummary,
    Trending,
)
from schemas.rules import MerchantRule
from streams.cluster.topics import Topic


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicContract:
    """One topic as its readers and writers see it.

    action: what insession does; its users do the other.
    records: value types; none = the original bytes of an input.
    """

    topic: Topic
    action: Literal["send", "receive"]
    records: tuple[Any, ...]
    key: str
    summary: str
    promise: str


_VISITOR_ORDER = "All records of a visitor are in one partition, in the order of the clicks."
_ONCE_BY_ID = "At least once; records with the same `id` are the same: take the first."

CONTRACTS: Final = (
    TopicContract(
        topic=Topic.CLICKSTREAM,
        action="receive",
        records=(ClickEvent,),
        key="visitor_id, partitioned by murmur2 as Kafka's Java client does",
        summary="The shop writes what shoppers do.",
        promise="Every offset is answered by exactly one record, on `recommendations` or on `clickstream-dlq`, unless "
        "it is not for us: then it has none, and is counted by `insession_ignored_records_total`. The shop may write "
        "JSON of its own, mapped to this record by settings, to a topic of any name, or to several.",
    ),
    TopicContract(
        topic=Topic.SESSION_CONTROL,
        action="receive",
        records=(Tick, Erase, Handover, Adoption),
        key="none; written to an explicit partition",
        summary="Workers write ticks, handovers and adoptions to each other; whoever erases a visitor writes an "
        "erasure to every partition.",
        promise="Same partition count as the clickstream. A tick ends nothing of a click behind its offsets.",
    ),
    TopicContract(
        topic=Topic.RECOMMENDATIONS,
        action="send",
        records=(RecommendationSet,),
        key="visitor_id",
        summary="The answer to every click.",
        promise=f"One record for each input offset that is neither ignored nor dead-lettered. {_VISITOR_ORDER} "
        f"{_ONCE_BY_ID} A full log for a week, then the latest record of each visitor until the retention ends.",
    ),
    TopicContract(
        topic=Topic.DEFAULT_RECOMMENDATIONS,
        action="send",
        records=(DefaultRecommendations,),
        key="`__default__`, or a location whose list differs from that one",
        summary="What to show to visitors without an answer, also while the recommender is down.",
        promise="The latest record of a key counts and is never empty; a tombstone ends a location's own list. Written "
        "when it has changed, by one worker at a time.",
    ),
    TopicContract(
        topic=Topic.INTENT_SIGNALS,
        action="send",
        records=(IntentSignal,),
        key="visitor_id",
        summary="What the shopper is up to, after every event of a session.",
        promise=f"At most one record for each answered input; a click that became `replayed` may have none. "
        f"{_VISITOR_ORDER} {_ONCE_BY_ID} A full log for a week, then the latest record of each visitor.",
    ),
    TopicContract(
        topic=Topic.OUTCOMES,
        action="send",
        records=(RecommendationOutcome,),
        key="visitor_id",
        summary="What the shopper did after an answer: a click, a cart or a purchase.",
        promise=f"At most one record for each line of an answered input; one that became `replayed` may have none. "
        f"{_VISITOR_ORDER} {_ONCE_BY_ID}",
    ),
    TopicContract(
        topic=Topic.SHADOW,
        action="send",
        records=(RecommendationSet,),
        key="visitor_id",
        summary="What a release in the shadow of the champion would have answered: shown to nobody.",
        promise="The `id` is that of the answer on `recommendations` that was shown instead. Best effort: none where "
        "the worker had no time for it, and in no order.",
    ),
    TopicContract(
        topic=Topic.SESSION_ENDS,
        action="send",
        records=(SessionSummary,),
        key="visitor_key, a keyed hash of the visitor_id",
        summary="Closed sessions: training data of the next model.",
        promise=f"One record for each closed session, in order for each visitor_key. {_ONCE_BY_ID}",
    ),
    TopicContract(
        topic=Topic.TRENDING,
        action="send",
        records=(Trending,),
        key="`__all__`, or a place",
        summary="What is viewed at each place, and what rises there.",
        promise="The latest record of a key counts; a tombstone ends a place's list. Written by one observer at a time "
        "when it has changed, everywhere's once a minute at least.",
    ),
    TopicContract(
        topic=Topic.OBSERVER_STATE,
        action="send",
        records=(),
        key="`place:` and a place, or `__progress__`",
        summary="What the observer has counted, for the next observer only.",
        promise="The latest record of a key counts; its form may change with any version.",
    ),
    TopicContract(
        topic=Topic.CATALOG,
        action="receive",
        records=(CatalogItem,),
        key="item_id",
        summary="The shop writes what it says of its items.",
        promise="The latest record of an item counts; a tombstone removes it. An item whose latest record cannot be "
        "read is not recommended. Any partition count.",
    ),
    TopicContract(
        topic=Topic.MERCHANT_RULES,
        action="receive",
        records=(MerchantRule,),
        key="rule_id",
        summary="Merchants say what is pinned, boosted, buried, blocked and included; `insession rules` writes it.",
        promise="The latest record of a rule that can be read counts; a tombstone removes it. Workers obey within a "
        "second. Every change is there for 30 days: that is the audit. Any partition count.",
    ),
    TopicContract(
        topic=Topic.DEAD_LETTERS,
        action="send",
        records=(),
        key="that of the input",
        summary="Inputs that cannot be used: their bytes, key and headers as they were, and why.",
        promise="One record for each such offset, in order for each key. At least once; the header "
        "`__insession.errors.id` tells repeats.",
    ),
)
