"""The plan is pure: what is done, missing, stale or waiting, from settings and results alone."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from agents.daily.plan import Found, Planned, World, key_of, plan
from agents.daily.records import STEPS, Result, StepName
from agents.settings import PipelineSettings, Settings
from schemas.bus import BusError
from schemas.ids import ModelVersion
from schemas.secret import Secret

OUTPUTS: dict[StepName, dict[str, Any]] = {
    "ingest": {"days": {"2026-01-31": "d"}},
    "sessions": {"sha256": "s"},
    "features": {},
    "tfrecords": {"train_sha256": "t", "test_sha256": "e"},
    "train": {"version": 8, "release_sha256": "r"},
}


class Results:
    """What lies there, by step and key."""

    def __init__(self) -> None:
        self.found: dict[tuple[StepName, str], Found] = {}

    def find(self, step: StepName, key: str) -> Found | None:
        """Look one up."""
        return self.found.get((step, key))

    def add(self, step: Planned, **values: Any) -> None:
        """Let a step be done, with `values` in its result."""
        assert step.inputs is not None
        result = Result(
            step=step.name,
            inputs=step.inputs,
            outputs=OUTPUTS.get(step.name, {}),
            seconds=1,
            started_at=datetime(2026, 2, 1, tzinfo=UTC),
            **values,
        )
        self.found[step.name, step.key] = Found(result)


def world(results: Results, champion: int | None = 7, **values: Any) -> World:
    """Have settings, and a champion."""
    settings = replace(Settings(), pipeline=PipelineSettings(source="{day}", **values))
    return World(
        date(2026, 1, 31), settings, "1.0", results.find, lambda: None if champion is None else ModelVersion(champion)
    )


def done(results: Results, given: World, until: StepName = "promote") -> World:
    """Let the steps up to one be done."""
    for name in STEPS[: STEPS.index(until) + 1]:
        step = next(step for step in plan(given) if step.name == name)
        if step.state != "skipped":
            results.add(step)
    return given


def states(given: World) -> list[str]:
    """Return the states in order."""
    return [step.state for step in plan(given)]


def test_at_first_the_first_step_is_missing_and_the_others_wait() -> None:
    """Each says for what."""
    steps = plan(world(Results()))
    assert [step.name for step in steps] == list(STEPS)
    assert [step.state for step in steps] == ["missing"] + ["waiting"] * 9
    assert {step.why for step in steps[1:]} == {"for ingest"}


@pytest.mark.parametrize("number", range(1, 10))
def test_what_is_done_is_not_asked_for_again(number: int) -> None:
    """And the step behind it is the next one."""
    results = Results()
    given = done(results, world(results, shadow=timedelta(1)), STEPS[number - 1])
    assert states(given) == ["done"] * number + ["missing"] + ["waiting"] * (9 - number)


def test_without_a_champion_there_is_no_shadow() -> None:
    """Nor where none is asked for."""
    for values in ({"shadow": timedelta(1)}, {}):
        results = Results()
        given = done(results, world(results, champion=None, **values))
        assert states(given) == ["done"] * 8 + ["skipped", "done"]


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ({"history_days": 5}, "ingest"),
        ({"exact_ticks": True}, "sessions"),
        ({"min_sessions": 5}, "ingest"),
        ({"epochs": 5}, "train"),
        ({"workers": 2}, "train"),
        ({"catalog": "items"}, "train"),
        ({"models": "s3://elsewhere"}, "checks"),
        ({"registry": "sqlite:///m.db"}, "register"),
        ({"shadow": timedelta(1)}, "shadow"),
    ],
)
def test_a_setting_makes_stale_what_it_matters_to(changed: dict[str, Any], first: StepName) -> None:
    """By name, and nothing before it."""
    results = Results()
    before = done(results, world(results))
    former = {step: found.result for (step, _), found in results.found.items()}
    steps = {step.name: step for step in plan(replace(world(results, **changed), former=former))}
    assert {step.state for name, step in steps.items() if STEPS.index(name) < STEPS.index(first)} <= {"done"}
    assert steps[first].state in {"stale", "missing"}
    assert states(before)[-1] == "done"


@pytest.mark.parametrize(
    "changed", [{"master": "yarn"}, {"max_restarts": 9}, {"keep_runs": 9}, {"spark_conf": ("a=b",)}]
)
def test_a_setting_that_changes_no_result_leaves_all_done(changed: dict[str, Any]) -> None:
    """Where a job runs is no input of it."""
    results = Results()
    done(results, world(results))
    assert "stale" not in states(world(results, **changed))
    assert states(world(results, **changed))[-1] == "done"


def test_rules_of_sessions_and_limits_of_checks_are_inputs_and_secrets_are_not() -> None:
    """The inputs stand in clear in the results."""
    results = Results()
    given = done(results, world(results))
    assert "sessions.inactivity_gap" in results.found["sessions", _key(given, "sessions")].result.inputs["rules"]
    settings = replace(given.settings, checks=msgspec.structs.replace(given.settings.checks, max_loss=0.5))
    assert states(replace(given, settings=settings))[STEPS.index("checks")] == "missing"
    clickstream = replace(given.settings.clickstream, pseudonym_secret=Secret("another secret of the shop"))
    assert states(replace(given, settings=replace(given.settings, clickstream=clickstream)))[-1] == "done"


def test_an_upgrade_makes_all_anew() -> None:
    """Other code may say something else."""
    results = Results()
    assert states(replace(done(results, world(results)), code_version="1.1"))[0] == "missing"


def test_a_champion_that_changed_asks_for_checks_against_it() -> None:
    """Unless the day has come to its end."""
    results = Results()
    given = done(results, world(results))
    other = replace(given, champion=lambda: ModelVersion(6), against=ModelVersion(7))
    assert states(other)[STEPS.index("checks")] == "missing"
    assert states(replace(other, is_over=True)) == ["done"] * 8 + ["skipped", "done"]


def test_a_candidate_that_serves_already_was_held_against_the_one_before() -> None:
    """A run that was killed over its last write finds its own release as the champion."""
    results = Results()
    given = done(results, world(results), "checks")
    own = replace(given, champion=lambda: ModelVersion(8), against=ModelVersion(7))
    assert states(own)[STEPS.index("checks")] == "done"


def test_a_bus_that_does_not_answer_is_the_reason_to_wait() -> None:
    """In its own words; what needs no champion is planned."""
    results = Results()
    given = done(results, world(results), "evaluate")

    def refuse() -> ModelVersion | None:
        raise BusError("s3://shop does not answer")

    (checks,) = [step for step in plan(replace(given, champion=refuse)) if step.name == "checks"]
    assert (checks.state, checks.why) == ("waiting", "s3://shop does not answer")


def test_an_answer_that_is_no_ends_the_plan() -> None:
    """What is behind waits for it."""
    results = Results()
    given = done(results, world(results), "evaluate")
    (checks,) = [step for step in plan(given) if step.name == "checks"]
    results.add(checks, failed="it is worse")
    assert states(given)[6:] == ["failed", "waiting", "waiting", "waiting"]


def test_what_is_damaged_is_stale_and_says_why() -> None:
    """A size that is another one, a release that was changed."""
    results = Results()
    given = done(results, world(results))
    found = results.found["train", _key(given, "train")]
    results.found["train", _key(given, "train")] = replace(found, damage="saved_model.pb was changed")
    steps = {step.name: step for step in plan(given)}
    assert (steps["train"].state, steps["train"].why) == ("stale", "saved_model.pb was changed")


def test_clicks_that_nobody_reads_any_more_may_go() -> None:
    """Where sessions have been made of them."""
    results = Results()
    given = done(results, world(results), "ingest")
    key = _key(given, "ingest")
    results.found["ingest", key] = replace(results.found["ingest", key], damage="the clicks are gone")
    assert states(given)[0] == "stale"
    results.found["ingest", key] = replace(results.found["ingest", key], damage=None)
    done(results, given, "sessions")
    results.found["ingest", key] = replace(results.found["ingest", key], damage="the clicks are gone")
    assert states(given)[:2] == ["done", "done"]


def test_a_key_hangs_on_content_and_not_on_order() -> None:
    """The same inputs are the same folder."""
    assert key_of("train", {"a": 1, "b": 2}) == key_of("train", {"b": 2, "a": 1})
    assert key_of("train", {"a": 1}) != key_of("evaluate", {"a": 1})


def _key(given: World, name: StepName) -> str:
    return next(step.key for step in plan(given) if step.name == name)
