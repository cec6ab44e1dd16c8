"""Runs seeds in a process that is made for it: its time, clients, disk and threads are simulated ones."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_simulate: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known of a seed."""

    seed: int
    problems: list[str]
    checksum: int
    events: int
    duplicates: int
    cpu_seconds: float
    trace: list[str]


def begin(mutant: str | None, *, has_thread: bool) -> None:
    """Make this process a simulated world; nothing of the product may be imported before.

    has_thread: the consumer has a thread of its own, as Faust means it; else it is in the loop, as in a worker.
    """
    from tests.simulation import clock

    clock.install()
    from tests.simulation import mutants, stand_ins
    from tests.simulation.run import simulate

    stand_ins.install(has_thread=has_thread)
    if mutant is not None:
        mutants.apply(mutant)
    global _simulate  # noqa: PLW0603 - one process, one world
    _simulate = simulate


def run_seed(seed: int) -> Outcome:
    """Run a seed."""
    return _outcome(seed, is_traced=False)


def trace_seed(seed: int) -> Outcome:
    """Run a seed and keep its trace."""
    return _outcome(seed, is_traced=True)


def _outcome(seed: int, *, is_traced: bool) -> Outcome:
    started = time.process_time()
    result = _simulate(seed, is_traced=is_traced)
    return Outcome(
        seed=seed,
        problems=result.problems,
        checksum=result.trace.checksum,
        events=result.events,
        duplicates=result.duplicates,
        cpu_seconds=time.process_time() - started,
        trace=result.trace.lines,
    )
