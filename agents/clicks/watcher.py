"""What a watcher is shown of every answer as it leaves."""

from dataclasses import dataclass
from typing import Protocol

from schemas.events import ClickEvent
from schemas.records import IntentSignal, RecommendationSet


@dataclass(frozen=True, slots=True, kw_only=True)
class EmittedAnswer:
    """One answer as it leaves: the click, and what is said to it; `signal` is None where there is no intent."""

    visitor_key: str
    record_time_ms: int
    event: ClickEvent
    recommendation: RecommendationSet
    signal: IntentSignal | None


class Watcher(Protocol):
    """Looks on; must neither wait nor raise."""

    @property
    def is_watching(self) -> bool:
        """False: nothing need be told."""

    def emitted(self, answer: EmittedAnswer) -> None:
        """See an answer."""
