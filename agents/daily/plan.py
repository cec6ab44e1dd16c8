"""Which steps of a day are done, and what the next one starts from: pure, from settings and what lies there.

A step depends on what the steps before have made, not on when: its inputs name their outputs by hash, and the hash of
the inputs names its folder. So a step that is made again and gives the same changes nothing behind it.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final

import msgspec

from agents.configuration.keys import section_of
from agents.configuration.values import plain, value_of
from agents.daily.records import STEPS, Result, StepName, StepState
from agents.settings import Settings
from schemas.errors import InsessionError
from schemas.ids import ModelVersion
from schemas.secret import masked

_KEY_CHARACTERS: Final = 16


@dataclass(frozen=True, slots=True)
class Found:
    """A result that lies there. damage: why what it names does not hold any more; None = it does."""

    result: Result
    damage: str | None = None


@dataclass(frozen=True, slots=True)
class World:
    """What a plan is made of.

    find: looks a step's result up by its key. champion: asks what serves; raises InsessionError. against, is_over: what
    the day's last run held its candidate against, and whether that run came to its end. former: its results. sql:
    hash of the queries, None = ours.
    """

    day: date
    settings: Settings
    code_version: str
    find: Callable[[StepName, str], Found | None]
    champion: Callable[[], ModelVersion | None]
    against: ModelVersion | None = None
    is_over: bool = False
    former: Mapping[StepName, Result] = field(default_factory=dict)
    sql: str | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A step as it stands. inputs: None where the steps before have to be done first."""

    name: StepName
    state: StepState
    why: str
    inputs: dict[str, Any] | None = None
    result: Result | None = None

    @property
    def key(self) -> str:
        """Name of the folder of its result."""
        assert self.inputs is not None, "a step that waits has no inputs yet"
        return key_of(self.name, self.inputs)

    @property
    def is_settled(self) -> bool:
        """Return whether the steps behind may go on."""
        return self.state in {"done", "skipped"}


def key_of(name: StepName, inputs: Mapping[str, Any]) -> str:
    """Hash the inputs of a step."""
    content = msgspec.json.encode({"step": name, **inputs}, order="deterministic")
    return hashlib.sha256(content).hexdigest()[:_KEY_CHARACTERS]


def plan(world: World) -> list[Planned]:
    """Return all steps. A day that came to its end stays so, whoever serves since."""
    if world.is_over:
        ended = _plan(replace(world, champion=lambda: world.against))
        if all(step.is_settled for step in ended):
            return ended
    return _plan(world)


def _plan(world: World) -> list[Planned]:
    planned: list[Planned] = []
    for name in STEPS:
        before = next((step for step in planned if not step.is_settled), None)
        waiting = None if before is None else Planned(name, "waiting", f"for {before.name}")
        planned.append(waiting or plan_step(name, world, results_of(planned)))
    return planned


def results_of(planned: Iterable[Planned]) -> dict[StepName, Result]:
    """Return what the steps that are done came to."""
    return {step.name: step.result for step in planned if step.result is not None}


def plan_step(name: StepName, world: World, done: Mapping[StepName, Result]) -> Planned:
    """Return a step of which those before are done."""
    try:
        inputs = {"code_version": world.code_version, **_INPUTS[name](world, done)}
    except InsessionError as error:
        return Planned(name, "waiting", str(error))
    why = _skipped(inputs) if name == "shadow" else None
    if why is not None:
        return Planned(name, "skipped", why, inputs)
    found = world.find(name, key_of(name, inputs))
    if (
        found is not None
        and name == "ingest"
        and plan_step("sessions", world, {"ingest": found.result}).state == "done"
    ):
        found = Found(found.result)  # the clicks may have gone by `keep_days`: nobody reads them any more
    return _missing(name, inputs, world.former.get(name)) if found is None else _found(name, inputs, found)


def _found(name: StepName, inputs: dict[str, Any], found: Found) -> Planned:
    if found.damage is not None:
        return Planned(name, "stale", found.damage, inputs)
    if found.result.failed is not None:
        return Planned(name, "failed", found.result.failed, inputs, found.result)
    return Planned(name, "done", found.result.message, inputs, found.result)


def _missing(name: StepName, inputs: dict[str, Any], former: Result | None) -> Planned:
    before = {} if former is None else former.inputs
    changed = sorted(one for one in {*before, *inputs} if before.get(one) != inputs.get(one))
    if former is not None and changed:
        return Planned(name, "stale", f"others than before: {', '.join(changed)}", inputs)
    return Planned(name, "missing", "not done yet", inputs)


def _skipped(inputs: Mapping[str, Any]) -> str | None:
    if not inputs["seconds"]:
        return "pipeline.shadow is 0s"
    return "there is no champion yet to be beside" if inputs["against"] is None else None


_Done = Mapping[StepName, Result]


def _of_ingest(world: World, _done: _Done) -> dict[str, Any]:
    settings = world.settings.pipeline
    return {
        "source": settings.source,
        "source_format": settings.source_format,
        "day": world.day.isoformat(),
        "history_days": settings.history_days,
        "min_sessions": settings.min_sessions,
    }


def _of_sessions(world: World, done: _Done) -> dict[str, Any]:
    return {
        "clicks": done["ingest"].outputs["days"],
        "exact_ticks": world.settings.pipeline.exact_ticks,
        "rules": _values(world.settings, "sessions", "clickstream.mapping", "clickstream.encoding"),
    }


def _of_features(world: World, done: _Done) -> dict[str, Any]:
    return {"sessions": done["sessions"].outputs["sha256"], "sql": world.sql}


def _of_tfrecords(world: World, done: _Done) -> dict[str, Any]:
    return {
        "sessions": done["sessions"].outputs["sha256"],
        "split_at": world.day.isoformat(),
        "min_sessions": world.settings.pipeline.min_sessions,
    }


def _of_train(world: World, done: _Done) -> dict[str, Any]:
    settings = world.settings.pipeline
    return {
        "train": done["tfrecords"].outputs["train_sha256"],
        "catalog": settings.catalog,
        "item_vectors": settings.item_vectors,
        "preset": settings.preset,
        "epochs": settings.epochs,
        "time_budget_seconds": settings.time_budget.total_seconds(),
        "input_events": list(settings.input_events),
        "workers": settings.workers,
        "model_name": world.settings.serving.model_name,
    }


def _of_evaluate(world: World, done: _Done) -> dict[str, Any]:
    return {
        "release": done["train"].outputs["release_sha256"],
        "test": done["tfrecords"].outputs["test_sha256"],
        "catalog": world.settings.pipeline.catalog,
    }


def _of_checks(world: World, done: _Done) -> dict[str, Any]:
    serves = world.champion()
    is_own = serves == done["train"].outputs["version"]  # it was promoted, and that could not be noted
    return {
        **_of_evaluate(world, done),
        "models": world.settings.pipeline.models,
        "against": world.against if is_own else serves,
        "outcomes": world.settings.pipeline.outcomes,
        "recommendations": world.settings.pipeline.recommendations,
        "limits": _values(world.settings, "checks"),
    }


def _of_register(world: World, done: _Done) -> dict[str, Any]:
    registry = world.settings.pipeline.registry
    return {**_of_promote(world, done), "registry": None if registry is None else masked(registry)}


def _of_shadow(world: World, done: _Done) -> dict[str, Any]:
    settings = world.settings.pipeline
    trial = {"seconds": settings.shadow.total_seconds(), "answers": settings.shadow_answers}
    return {**_of_promote(world, done), **trial}


def _of_promote(world: World, done: _Done) -> dict[str, Any]:
    return {
        "release": done["train"].outputs["release_sha256"],
        "against": done["checks"].inputs["against"],
        "models": world.settings.pipeline.models,
    }


_INPUTS: Final[Mapping[StepName, Callable[[World, _Done], dict[str, Any]]]] = {
    "ingest": _of_ingest,
    "sessions": _of_sessions,
    "features": _of_features,
    "tfrecords": _of_tfrecords,
    "train": _of_train,
    "evaluate": _of_evaluate,
    "checks": _of_checks,
    "register": _of_register,
    "shadow": _of_shadow,
    "promote": _of_promote,
}


def _values(settings: Settings, *names: str) -> dict[str, Any]:
    """Return what is set in some sections and those below, without secrets."""
    return {
        key.name: plain(value_of(settings, key))
        for section in section_of(Settings).walk()
        if any(section.name == name or section.name.startswith(f"{name}.") for name in names)
        for key in section.keys
        if key.secret_key is None and not key.is_secret
    }
