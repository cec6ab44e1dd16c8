"""The worker's own recommender over a release in this process: a worker's answers where the model is always in time."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from agents.settings import Settings
from agents.wiring import described_catalog, described_rules
from schemas.errors import UsageError
from schemas.ids import ItemId
from schemas.ranking import ModelInput, ModelOutput
from schemas.records import CatalogItem, SessionEvent
from schemas.rules import MerchantRule
from serving.breaker import CircuitBreaker
from serving.chain import Answer, AnswerRequest, Recommender
from serving.metrics import ServingMetrics
from serving.parts import OneRelease
from serving.popular import StreamPopularity
from serving.together import GatheredModel, answer_many
from session_model.intent.patterns import pattern_of
from session_model.networks.exported_model import ExportedModel
from session_model.release.copies import load_release

BATCH_ROWS: Final = 32
"""Every call of the model has so many rows: what else is asked changes no bit of an answer."""


def request_of(
    events: Sequence[SessionEvent],
    location: str | None,
    bought: Sequence[ItemId],
    *,
    device: str | None = None,
    at_ms: int | None = None,
) -> AnswerRequest:
    """Ask for a shopper who did `events`, oldest first; bought: items of earlier sessions; at_ms: as of when."""
    return AnswerRequest(
        events=events,
        location=location,
        bought=bought,
        deadline=math.inf,
        want_personal=True,
        now_ms=at_ms,
        device=device,
    )


class LocalRecommender:
    """Recommends by the release in `directory`; loading it imports TensorFlow.

    described: the catalog; without it every item is allowed, and items that are new since training are not known.
    rules: of the merchants.
    What is popular in the stream is not known: a release has what was popular in its training data.
    Raises ReleaseError, OSError of the disk, and UsageError without TensorFlow.
    """

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        described: Iterable[CatalogItem] = (),
        rules: Iterable[MerchantRule] = (),
    ) -> None:
        release = load_release(directory, settings.serving.release_key)
        try:
            self._model = ExportedModel.of(release)
        except ModuleNotFoundError as error:
            raise UsageError(f"a model runs on TensorFlow ({error}): pip install 'insession[pipeline]'") from error
        self.manifest = release.manifest
        records = list(described)
        self._recommender = Recommender(
            model=GatheredModel(),
            gate=CircuitBreaker(failures=0, open_seconds=1),
            releases=OneRelease(release.with_catalog(records) if records else release),
            popularity=StreamPopularity(half_life_seconds=1, max_items=0, max_locations=0),
            catalog=described_catalog(settings, records),
            settings=settings.serving,
            metrics=ServingMetrics(CollectorRegistry()),
            rules=described_rules(settings, rules),
            pattern=pattern_of,
        )

    def answer_many(self, requests: Sequence[AnswerRequest]) -> list[Answer]:
        """Answer each request, in order."""
        return answer_many(self._recommender, requests, self._predict)

    def _predict(self, rows: Sequence[ModelInput]) -> list[ModelOutput]:
        outputs = list[ModelOutput]()
        for first in range(0, len(rows), BATCH_ROWS):
            some = rows[first : first + BATCH_ROWS]
            padding = [some[0]] * (BATCH_ROWS - len(some))
            outputs += self._model.predict([*some, *padding])[: len(some)]
        return outputs
