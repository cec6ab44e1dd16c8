"""A release in the shadow: what it would have answered goes to a side topic and is counted; no shopper sees it."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, Counter

from agents.clicks.answered import AnsweredRecord
from schemas.records import RecommendedItem
from serving.chain import AnswerRequest
from serving.trial import TriedRecommender
from streams.rare_log import RareLog
from streams.records import OutputRecord, RecordSink

AT_MOST: Final = 64
"""Questions under way; one more is not asked."""

log = structlog.get_logger(__name__)


class ShadowMetrics:
    """How often the shadow was asked, and how far it agrees; its tiers and latency are the candidate's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.skipped = Counter(
            "insession_shadow_skipped",
            "Answers that the shadow was not asked for, by reason.",
            ["reason"],
            registry=registry,
        )
        self.compared_items = Counter(
            "insession_shadow_compared_items", "Items shown while the shadow was asked, too.", registry=registry
        )
        self.shared_items = Counter(
            "insession_shadow_shared_items", "Of these, those that the shadow has in its list.", registry=registry
        )
        for reason in ("busy", "failed"):
            self.skipped.labels(reason)


class Shadow:
    """Asks the candidate after the champion has answered. Best effort: it delays nothing and may leave answers out.

    budget_seconds: within which the candidate's model must answer, from when it is asked.
    """

    def __init__(
        self,
        tried: TriedRecommender,
        sink: RecordSink,
        metrics: ShadowMetrics,
        budget_seconds: float,
    ) -> None:
        self._tried = tried
        self._sink = sink
        self._metrics = metrics
        self._budget_seconds = budget_seconds
        self._asking: set[asyncio.Task[None]] = set()
        self._rare_log = RareLog(log)

    def offer(
        self, answered: AnsweredRecord, request: AnswerRequest, output: Callable[[AnsweredRecord], OutputRecord]
    ) -> None:
        """Have the shadow asked for what was answered, where its share has the visitor; returns at once.

        output: makes the record of its answer.
        """
        if not self._tried.is_shadowed(request.visitor_id):
            return
        if len(self._asking) >= AT_MOST:
            self._metrics.skipped.labels("busy").inc()
            return
        task = asyncio.create_task(self._ask(answered, request, output))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    @property
    def is_asking(self) -> bool:
        """Return whether a question is under way."""
        return bool(self._asking)

    async def close(self) -> None:
        """Give up what is under way."""
        asking = tuple(self._asking)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _ask(
        self, answered: AnsweredRecord, request: AnswerRequest, output: Callable[[AnsweredRecord], OutputRecord]
    ) -> None:
        try:
            deadline = time.monotonic() + self._budget_seconds
            answer = await self._tried.candidate.answer(replace(request, deadline=deadline, trace=None))
            self._compare(answered.answer.items, answer.items)
            await self._sink.send(output(replace(answered, answer=answer)))
        except Exception as error:  # noqa: BLE001 - no shopper sees it
            self._metrics.skipped.labels("failed").inc()
            self._rare_log.warning("shadow_failed", error=f"{type(error).__name__}: {error}")

    def _compare(self, shown: list[RecommendedItem], shadowed: list[RecommendedItem]) -> None:
        theirs = {item.item_id for item in shadowed}
        self._metrics.compared_items.inc(len(shown))
        self._metrics.shared_items.inc(sum(item.item_id in theirs for item in shown))
