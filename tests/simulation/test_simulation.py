"""A few hundred seeds of the simulated delivery, and its mutants; `make simulate-delivery` runs ten thousand."""

import os
import subprocess
import sys

import pytest

SEEDS = 200


def simulation(*options: str, hash_seed: str = "0") -> "subprocess.CompletedProcess[str]":
    """Run the simulation in a process of its own: in that one, time is another."""
    command = [sys.executable, "-m", "tests.simulation", *options]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("options", [(), ("--thread",)], ids=["in the loop", "in a thread"])
def test_nothing_is_lost_whatever_happens(options: tuple[str, ...]) -> None:
    """Every input is answered once it is committed, in order, and states and session ends are an undisturbed run's."""
    run = simulation("--seeds", str(SEEDS), *options)
    assert run.returncode == 0, run.stdout
    assert f"{SEEDS} seeds, 0 with a problem" in run.stdout


def test_a_seed_replays_to_the_last_byte() -> None:
    """Nothing of a run depends on the process that it runs in."""
    first, again = (simulation("--seed", "7", hash_seed=seed) for seed in ("1", "2"))
    assert len(first.stdout.splitlines()) > 200
    assert first.stdout == again.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the table's seeds are of Python 3.11; asyncio draws otherwise in others"
)
def test_each_mend_is_missed_where_it_is_taken_out() -> None:
    """Every mutant shows at the seed that the table in docs/simulation.md states."""
    run = simulation("--stated")
    assert run.returncode == 0, run.stdout + run.stderr
