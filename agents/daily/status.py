"""Where the supply of releases stands: the steps of the last day, what serves and how old it is, what waits."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Literal, TypeVar

import msgspec

from agents.artifact_bus import open_bus
from agents.daily.plan import Planned, plan
from agents.daily.records import DayRecord, DayState, Result, StepName, StepState
from agents.daily.store import Store
from agents.daily.world import world_of
from agents.settings import Settings
from schemas.bus import ArtifactBus
from schemas.errors import InsessionError
from schemas.ids import ModelVersion
from schemas.rollout import Rollout
from session_model.release.on_bus import read_manifest
from session_model.release.rollout_log import RolloutLog


class StepStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a day. seconds: that it took; None where it is not done. why: of its state."""

    name: StepName
    state: StepState
    seconds: float | None
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    why: str


class ChampionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What serves. data_until: the latest event that it was trained on; None in releases that do not say."""

    version: ModelVersion
    since: datetime
    data_until: datetime | None


class CandidateStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What has not been decided. stage: how far it is."""

    version: ModelVersion
    stage: Literal["trained", "checked", "registered", "shadow", "canary"]
    since: datetime


class SupplyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What `insession pipeline status --json` prints.

    day: the last one that was run. is_running: a process is at work. checks_failed: names of the checks that its
    candidate failed. problems: what could not be looked at, so champion or candidate may be missing here.
    """

    day: date | None
    state: DayState | None
    reason: str
    is_running: bool
    steps: list[StepStatus]
    champion: ChampionStatus | None
    candidate: CandidateStatus | None
    checks_failed: list[str]
    last_run_at: datetime | None
    last_success_at: datetime | None
    next_run_at: datetime | None
    problems: list[str]


def supply_status(settings: Settings, *, day: date | None = None) -> SupplyStatus:
    """Look at the work folder and the Bus; day: instead of the last one that was run.

    Nothing is verified that would take long, and nothing is written. What of the Bus cannot be looked at is a problem
    in it; raises OSError of the work folder.
    """
    store, problems = Store(settings.pipeline.work), list[str]()
    records = store.records()
    latest = max(records, key=lambda record: (record.started_at, record.day), default=None)
    record = latest if day is None else store.record(day)
    bus, model = _looked(lambda: open_bus(settings.pipeline.models), problems), settings.serving.model_name
    log = None if bus is None else RolloutLog(bus, model)
    rollout = None if log is None else _looked(log.in_force, problems)
    is_running = store.is_locked()
    when = day or (None if record is None else record.day)

    def champion() -> ModelVersion | None:
        if problems:
            raise InsessionError(problems[0])  # as it was told: to ask once more takes as long
        return None if rollout is None else rollout.champion

    planned = [] if when is None else plan(world_of(settings, store, when, champion))
    running = _running(record, planned, is_running=is_running)
    steps = [_step(step, is_running=step is running) for step in planned]
    results = store.former(record)
    succeeded = [one.ended_at for one in records if one.state == "done" and one.ended_at is not None]
    return SupplyStatus(
        day=when,
        state=None if record is None else _state(record, is_running=is_running),
        reason="" if record is None else record.reason,
        is_running=is_running,
        steps=steps,
        champion=None
        if bus is None or log is None or rollout is None
        else _looked(lambda: _champion(bus, model, log, rollout), problems),
        candidate=_candidate(record, results, rollout),
        checks_failed=results["checks"].outputs.get("failed", []) if "checks" in results else [],
        last_run_at=None if latest is None else latest.started_at,
        last_success_at=max(succeeded, default=None),
        next_run_at=store.next_run_at(),
        problems=problems,
    )


_Looked = TypeVar("_Looked")


def _looked(look: Callable[[], _Looked], problems: list[str]) -> _Looked | None:
    try:
        return look()
    except InsessionError as error:
        problems.append(str(error))
        return None


def _champion(bus: ArtifactBus, model: str, log: RolloutLog, rollout: Rollout) -> ChampionStatus:
    """Tell what serves; the record in force may be of another change, so the audit says since when."""
    since = rollout.changed_at
    for record in log.records(newest_first=True):
        if record.champion != rollout.champion:
            break
        since = record.changed_at
    manifest = read_manifest(bus, model, rollout.champion)
    return ChampionStatus(version=rollout.champion, since=since, data_until=manifest.training_data_until)


def _candidate(
    record: DayRecord | None, results: Mapping[StepName, Result], rollout: Rollout | None
) -> CandidateStatus | None:
    """Tell what is on trial; else what the last run has trained, as long as nothing was decided of it."""
    if rollout is not None and rollout.candidate is not None:
        trial = rollout.candidate
        return CandidateStatus(version=trial.version, stage=trial.stage, since=rollout.changed_at)
    if record is None or record.state in {"failed", "done"} or "train" not in results:
        return None
    version = ModelVersion(results["train"].outputs["version"])
    if rollout is not None and (version == rollout.champion or version in rollout.rejected):
        return None
    stages: dict[StepName, Literal["trained", "checked", "registered"]] = {
        "register": "registered",
        "checks": "checked",
        "train": "trained",
    }
    step = next(step for step in stages if step in results)
    ended = results[step].started_at + timedelta(seconds=results[step].seconds)
    return CandidateStatus(version=version, stage=stages[step], since=ended)


def _step(step: Planned, *, is_running: bool) -> StepStatus:
    return StepStatus(
        name=step.name,
        state="running" if is_running else step.state,
        seconds=None if step.result is None else step.result.seconds,
        inputs=step.inputs or {},
        outputs={} if step.result is None else step.result.outputs,
        why=step.why,
    )


def _state(record: DayRecord, *, is_running: bool) -> DayState:
    """Tell a day that is run from one whose run was killed, which could not say so."""
    return "interrupted" if record.state == "running" and not is_running else record.state


def _running(record: DayRecord | None, planned: list[Planned], *, is_running: bool) -> Planned | None:
    if record is None or record.state != "running" or not is_running:
        return None
    return next((step for step in planned if not step.is_settled), None)
