"""A candidate beside the champion: a canary answers its share of the visitors, a shadow is asked and shown to nobody.

Each has a lane of its own: rows of the candidate wait in its own batcher behind its own breaker, and are counted apart.
So a candidate that is slow or fails costs the champion's visitors nothing.
"""

from dataclasses import dataclass

from schemas.ids import ModelVersion, VisitorId
from schemas.rollout import Stage
from serving.chain import Answer, AnswerRequest, Recommender
from serving.parts import ReleaseParts
from serving.popular import Sighting
from serving.releases import ReleaseWatcher


@dataclass(frozen=True, slots=True)
class CandidateReleases:
    """The release on trial, as a `Recommender` asks for it."""

    watcher: ReleaseWatcher

    @property
    def current(self) -> ReleaseParts | None:
        """Return the candidate."""
        trial = self.watcher.trial
        return None if trial is None else trial.parts

    async def resolve_again(self, gone: ModelVersion) -> ReleaseParts | None:  # noqa: ARG002
        """Return none: there is no other candidate."""
        return None


@dataclass(frozen=True, slots=True)
class TriedRecommender:
    """Answers each visitor by the champion, or by the canary where its share has them."""

    champion: Recommender
    candidate: Recommender
    releases: ReleaseWatcher

    def observe(self, seen: Sighting) -> None:
        """Count an accepted item event for what is popular in the stream; both have the same."""
        self.champion.observe(seen)

    async def answer(self, request: AnswerRequest) -> Answer:
        """Recommend; see `Recommender.answer`."""
        recommender = self.candidate if self._is_on_trial("canary", request.visitor_id) else self.champion
        return await recommender.answer(request)

    def is_shadowed(self, visitor_id: VisitorId | None) -> bool:
        """Return whether the candidate is to be asked, too, without a word to the visitor."""
        return self._is_on_trial("shadow", visitor_id)

    def _is_on_trial(self, stage: Stage, visitor_id: VisitorId | None) -> bool:
        trial = self.releases.trial
        return (
            trial is not None and visitor_id is not None and trial.terms.stage == stage and trial.terms.has(visitor_id)
        )
