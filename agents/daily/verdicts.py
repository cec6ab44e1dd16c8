"""Why a day ends before its release serves: pure, in words that say what to do."""

from collections.abc import Mapping
from datetime import date

from agents.batch.ingest_job import DayManifest
from schemas.ids import ModelVersion
from schemas.rollout import Rollout


def too_little(day: date, found: Mapping[str, DayManifest], min_sessions: int) -> str | None:
    """Say why the clicks of a day, or of those before it, are too few to begin with."""
    last = found.get(day.isoformat())
    n_records = 0 if last is None else last.records
    if n_records < min_sessions:
        return (
            f"{day} has {n_records:,} records, fewer than pipeline.min_sessions ({min_sessions:,}) sessions need; if "
            "the shop was open, see what sends to the clickstream; the champion goes on serving, and the next day has "
            "a run of its own"
        )
    if len(found) == 1:
        return (
            f"{day} is the first day with clicks: it is what a release is tested on, and there is none before it to "
            "learn from; the next day's run has one"
        )
    return None


def too_few(day: date, n_sessions: int, min_sessions: int) -> str | None:
    """Say why a day has too few sessions of people to judge a release by."""
    if n_sessions >= min_sessions:
        return None
    return (
        f"{day} has {n_sessions:,} sessions of people, fewer than pipeline.min_sessions ({min_sessions:,}); the "
        "champion goes on serving, and the next day has a run of its own"
    )


def taken_back(rollout: Rollout | None, version: ModelVersion) -> str | None:
    """Say why a release must not go on, if somebody has withdrawn it or gone back from it."""
    if rollout is None or version not in rollout.rejected:
        return None
    return (
        f"version {version} was taken back by {rollout.by} ({rollout.reason or 'no reason given'}); champion "
        f"{rollout.champion} goes on serving"
    )


def is_on_trial(rollout: Rollout | None, version: ModelVersion) -> bool:
    """Return whether a release is the candidate, or already more than that."""
    if rollout is None:
        return False
    return rollout.champion == version or (rollout.candidate is not None and rollout.candidate.version == version)


def other_trial(rollout: Rollout | None) -> str | None:
    """Say which canary somebody has begun: it is not the pipeline's to end."""
    trial = None if rollout is None else rollout.candidate
    if trial is None or trial.stage != "canary":
        return None
    return f"version {trial.version} is a canary; promote or withdraw it, then run this again"
