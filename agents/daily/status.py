"""Where the supply of releases stands: the steps of the last day, what serves and how old it is, what waits."""

from datetime import date, datetime
from typing import Any, Literal

import msgspec

from agents.daily.records import DayState, StepName
from schemas.ids import ModelVersion

StepState = Literal["done", "failed", "running", "missing", "stale", "waiting", "skipped"]


class StepStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a day. seconds: that it took, or takes so far; None where it has not begun. why: of its state."""

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
