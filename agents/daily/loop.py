"""Runs the steps of a day that are not done, one after the other, and notes how far it is."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from agents.daily.keep import tidy
from agents.daily.plan import Planned, World, plan, plan_step
from agents.daily.records import STEPS, DayRecord, DayState, Result, StepName
from agents.daily.steps import Clocks, Place, Steps
from agents.daily.store import Store
from agents.daily.world import world_of
from agents.settings import Settings
from schemas.errors import InsessionError, UsageError

log = structlog.get_logger(__name__)


class View(Protocol):
    """Hears how a run goes."""

    def began(self, step: StepName) -> None:
        """Note that a step is at work."""

    def settled(self, step: Planned, seconds: float) -> None:
        """Note what became of a step: done before (0 s), skipped, done now, or failed."""


def last_day(now: datetime) -> date:
    """Return the newest day that is over."""
    return now.date() - timedelta(days=1)


class DailyLoop:
    """The loop of one deployment; its work folder is one process's at a time."""

    def __init__(self, settings: Settings, store: Store, steps: Steps, clocks: Clocks) -> None:
        if not settings.pipeline.source:
            raise UsageError(
                "pipeline.source is not set: where are the clicks? Write kafka://BROKERS/TOPIC, or files with {day} in "
                "their path, into [pipeline] of --config"
            )
        self._settings = settings
        self._store = store
        self._steps = steps
        self._clocks = clocks

    def plan(self, day: date) -> list[Planned]:
        """Return the steps of a day as they stand."""
        with _disk_named(self._store.work):
            return plan(self._world(day))

    def run(self, day: date, view: View, *, first: StepName | None = None, last: StepName | None = None) -> DayRecord:
        """Do what is missing of a day and return how it ended; never raises for what a day can bring.

        first: this step and those behind are done again. last: up to here. Raises UsageError for a day that is not
        over, InsessionError where another process is at work, and KeyboardInterrupt.
        """
        if day > last_day(self._clocks.now()):
            raise UsageError(f"{day} is not over (UTC); see the clock of this machine, or name a day before")
        with _disk_named(self._store.work), self._store.locked(day):
            world = self._world(day)
            before = self._store.record(day)
            if before is not None and world.is_over and first is None and _is_over(ended := plan(world)):
                for step in ended:
                    view.settled(step, 0.0)
                return before
            record = self._run(_Run(world, view, first, last), self._begun(day))
            try:
                tidy(self._store, self._settings)
            except (InsessionError, OSError) as error:
                log.warning("pipeline_kept_too_much", reason=str(error), next="it goes at the end of the next run")
            return record

    def _begun(self, day: date) -> DayRecord:
        before = self._store.record(day)
        record = DayRecord(day=day, state="running", started_at=self._clocks.now())
        if before is not None:
            record = msgspec.structs.replace(record, keys=before.keys, against=before.against)
        self._store.write_record(record)
        return record

    def _run(self, run: "_Run", record: DayRecord) -> DayRecord:
        try:
            for name in STEPS:
                step = plan_step(name, run.world, run.done)
                step, record = self._settle(run, step, record)
                if step.state == "failed":
                    return self._ended(record, "failed", f"{name}: {step.why}")
                if name == run.last != STEPS[-1]:
                    return self._ended(record, "part", f"up to {name}, as asked for")
        except KeyboardInterrupt:
            self._ended(record, "interrupted", "the same command goes on")
            raise
        except OSError as error:
            return self._ended(record, "broken", f"{error}; check space and rights of {self._store.work}")
        except InsessionError as error:
            return self._ended(record, "broken", str(error))
        return self._ended(record, "done", f"version {run.done['promote'].outputs['version']} is the champion")

    def _settle(self, run: "_Run", step: Planned, record: DayRecord) -> tuple[Planned, DayRecord]:
        """Do a step unless it is done, and return what became of it."""
        if step.state == "waiting":
            raise InsessionError(f"{step.name}: {step.why}")
        seconds = 0.0
        if step.state != "skipped" and (step.state in {"missing", "stale"} or run.is_anew(step.name)):
            keys = record.keys | {step.name: step.key}
            against = step.inputs["against"] if step.name == "checks" and step.inputs else record.against
            record = msgspec.structs.replace(record, keys=keys, against=against)
            self._store.write_record(record)
            run.view.began(step.name)
            try:
                result = self._do(run, step)
            except InsessionError as error:
                raise InsessionError(f"{step.name}: {error}") from error
            step = Planned(
                step.name, "failed" if result.failed else "done", result.failed or result.message, step.inputs
            )
            seconds, run.done[step.name] = result.seconds, result
        elif step.result is not None:
            run.done[step.name] = step.result
            record = msgspec.structs.replace(record, keys=record.keys | {step.name: step.key})
        run.view.settled(step, seconds)
        return step, record

    def _do(self, run: "_Run", step: Planned) -> Result:
        assert step.inputs is not None
        is_anew = run.is_anew(step.name)
        if is_anew and self._store.folder(step.name, step.key).exists():
            self._store.remove(self._store.folder(step.name, step.key))
        folder = self._store.begin(step.name, step.key)
        started_at, begin = self._clocks.now(), self._clocks.monotonic()
        outcome = self._steps.act(step.name, Place(run.world.day, step.inputs, run.done, is_anew=is_anew), folder)
        result = Result(
            step=step.name,
            inputs=step.inputs,
            outputs=outcome.outputs,
            files=self._store.sizes(outcome.paths),
            seconds=round(self._clocks.monotonic() - begin, 1),
            started_at=started_at,
            message=outcome.message,
            failed=outcome.failed,
        )
        self._store.finish(step.key, result)
        return result

    def _ended(self, record: DayRecord, state: DayState, reason: str) -> DayRecord:
        """Note the end; a disk that is full must not hide why."""
        record = msgspec.structs.replace(record, state=state, reason=reason, ended_at=self._clocks.now())
        with suppress(OSError):
            self._store.write_record(record)
        return record

    def _world(self, day: date) -> World:
        return world_of(self._settings, self._store, day, self._steps.champion)


def _is_over(steps: Iterable[Planned]) -> bool:
    return all(step.is_settled for step in steps)


class _Run:
    """One run: what is known, who hears of it, and what is done so far."""

    def __init__(self, world: World, view: View, first: StepName | None, last: StepName | None) -> None:
        self.world = world
        self.view = view
        self.last = last
        self.done: dict[StepName, Result] = {}
        self._anew: Sequence[StepName] = () if first is None else STEPS[STEPS.index(first) :]

    def is_anew(self, name: StepName) -> bool:
        """Return whether the step is asked for again."""
        return name in self._anew


@contextmanager
def _disk_named(work: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InsessionError(f"{error}; check space and rights of {work}, then run this again") from error
