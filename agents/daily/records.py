"""What the daily loop writes: a result a step, a record a day."""

from datetime import date
from typing import Any, Final, Literal, get_args

import msgspec

from schemas.events import Instant
from schemas.ids import ModelVersion

StepName = Literal[
    "ingest", "sessions", "features", "tfrecords", "train", "evaluate", "checks", "register", "shadow", "promote"
]
STEPS: Final[tuple[StepName, ...]] = get_args(StepName)
"""In the order in which they run."""
StepState = Literal["done", "failed", "running", "missing", "stale", "waiting", "skipped"]
DayState = Literal["running", "interrupted", "broken", "failed", "part", "done"]


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a step came to, `result.json` in the folder of its inputs; written last, so without it nothing was done.

    inputs: all that the outputs depend on; their hash names the folder. outputs: what later steps depend on. files:
    sizes in bytes by path below the work folder. failed: an answer, too, which the same inputs would give again: why
    the day ends here, and what to do.
    """

    step: StepName
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    files: dict[str, int] = {}
    seconds: float
    started_at: Instant
    message: str = ""
    failed: str | None = None


class DayRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the last run of a day went, `days/<day>.json`.

    state: `broken` = a step could not be done, the same command tries again; `failed` = a step's answer is no; `part` =
    as far as was asked for. keys: the folder of each step's result. against: the champion that the candidate was held
    against. ended_at: None while it runs, or where it was killed.
    """

    day: date
    state: DayState
    started_at: Instant
    ended_at: Instant | None = None
    reason: str = ""
    keys: dict[StepName, str] = {}
    against: ModelVersion | None = None
