"""The moves of a rollout: from what is in force to what is next, as pure decisions."""

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from schemas.errors import UsageError
from schemas.ids import ModelVersion
from schemas.rollout import Candidate, Change, Rollout, Stage

_MOST_REJECTED: Final = 100


class Moves:
    """The moves that are open from `before`; None = nothing was ever promoted.

    Each returns the record to write, and raises UsageError where it makes no sense.
    """

    def __init__(self, before: Rollout | None, now: datetime, by: str) -> None:
        self._before = before
        self._now = now
        self._by = by

    def promote(self, version: ModelVersion, reason: str) -> Rollout:
        """Let a release serve everybody; who served is the previous one. A candidate that is not promoted stays."""
        before = self._before
        if before is None:
            return Rollout(
                revision=1, changed_at=self._now, change="promote", reason=reason, by=self._by, champion=version
            )
        if before.champion == version:
            raise UsageError(f"version {version} is the champion already")
        is_candidate = before.candidate is not None and before.candidate.version == version
        return self._next(
            "promote",
            reason,
            champion=version,
            previous=before.champion,
            candidate=None if is_candidate else before.candidate,
            rejected=tuple(one for one in before.rejected if one != version),
        )

    def rollback(self, reason: str) -> Rollout:
        """Go back to the previous champion; the present one is rejected, and a trial ends."""
        before = self._served()
        if before.previous is None:
            raise UsageError(
                f"there is no champion before version {before.champion} to go back to; promote another release"
            )
        return self._next(
            "rollback",
            reason,
            champion=before.previous,
            previous=None,
            candidate=None,
            rejected=_with(before.rejected, before.champion),
        )

    def trial(self, version: ModelVersion, stage: Stage, share: float, reason: str) -> Rollout:
        """Ask a release beside the champion for a share of the visitors; one of an earlier trial gives way."""
        before = self._served()
        if version == before.champion:
            raise UsageError(f"version {version} is the champion; a candidate is another release")
        if version in before.rejected:
            raise UsageError(f"version {version} was rejected; train a new one, or promote it in spite of that")
        candidate = Candidate(version=version, stage=stage, share=share)
        if candidate == before.candidate:
            raise UsageError(f"version {version} is the {stage} of {share:.0%} of the visitors already")
        return self._next(stage, reason, candidate=candidate)

    def withdraw(self, reason: str) -> Rollout:
        """End a trial; its release is rejected."""
        before = self._served()
        if before.candidate is None:
            raise UsageError("no release is on trial")
        return self._next("withdraw", reason, candidate=None, rejected=_with(before.rejected, before.candidate.version))

    def _served(self) -> Rollout:
        if self._before is None:
            raise UsageError("no release was promoted yet: workers serve the newest; promote the one that serves first")
        return self._before

    def _next(self, change: Change, reason: str, **values: object) -> Rollout:
        before = self._served()
        now = max(self._now, before.changed_at)  # a clock that goes back must not write a past
        return replace(
            before,
            revision=before.revision + 1,
            changed_at=now,
            change=change,
            reason=reason,
            by=self._by,
            **values,
        )


def _with(rejected: tuple[ModelVersion, ...], version: ModelVersion) -> tuple[ModelVersion, ...]:
    return (*(one for one in rejected if one != version), version)[-_MOST_REJECTED:]
