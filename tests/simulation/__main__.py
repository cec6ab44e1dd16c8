"""Deterministic simulation of the delivery: `python -m tests.simulation --seeds 10000`, or one by `--seed N`.

Exit code 1 where a seed shows a problem; the command that replays it is printed. The same seed gives the same run, to
the last byte of its trace.

`--mutants` takes the mends of the delivery's history out, one at a time, and looks for the first seed that shows it;
its table is kept in docs/simulation.md. Exit code 1 where one is not found.

`--thread` gives the consumer a thread of its own, as Faust means it, where a worker has it in the loop of the clicks:
two orders of events, and either must lose nothing. Mutants are looked for so.
"""

import os
import sys

if os.environ.get("PYTHONHASHSEED") != "0":  # the order of Faust's sets must not depend on the process
    os.environ["PYTHONHASHSEED"] = "0"
    os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])  # noqa: S606 - no shell is wanted

import multiprocessing
from collections.abc import Callable, Iterator
from functools import partial

import click

from agents.progress_bar import counted_progress
from tests.simulation.seeds import Outcome, begin, run_seed, trace_seed

MOST_SEEDS_A_MUTANT = 600

SEEDS_A_PROCESS = 200
"""Then another process takes its place, so that memory stays small."""


@click.command(help=__doc__)
@click.option("--seed", type=int, help="Replay one seed and print its trace.")
@click.option("--seeds", type=click.IntRange(1), default=300, show_default=True, help="Run so many seeds.")
@click.option("--first", type=int, default=0, show_default=True, help="Begin with this seed.")
@click.option("--mutant", help="Take a mend out first; tests/simulation/mutants.py names them.")
@click.option("--mutants", is_flag=True, help="Look for every mutant and write the table.")
@click.option("--stated", is_flag=True, help="Look for every mutant at the seed that the table states.")
@click.option("--thread", "has_thread", is_flag=True, help="Give the consumer a thread of its own; mutants have it.")
@click.option("--processes", type=click.IntRange(1), default=os.cpu_count(), help="Run in so many processes.")
def main(
    *,
    seed: int | None,
    seeds: int,
    first: int,
    mutant: str | None,
    mutants: bool,
    stated: bool,
    has_thread: bool,
    processes: int,
) -> None:
    """Run seeds."""
    if mutants or stated:
        sys.exit(not _look_for_mutants(only_stated=stated))
    begun = partial(begin, mutant, has_thread=has_thread or mutant is not None)
    options = ("" if mutant is None else f" --mutant {mutant}") + (" --thread" if has_thread else "")
    if seed is not None:
        with multiprocessing.Pool(1, begun) as pool:
            outcome = pool.apply(trace_seed, (seed,))
        sys.stdout.write("\n".join((*outcome.trace, "")))
        _report([outcome], options)
        sys.exit(bool(outcome.problems))
    outcomes = list(_run(range(first, first + seeds), begun, processes))
    _report(outcomes, options)
    seconds = sum(outcome.cpu_seconds for outcome in outcomes)
    click.echo(f"{1000 * seconds / len(outcomes):.0f} ms CPU a seed")
    sys.exit(any(outcome.problems for outcome in outcomes))


def _look_for_mutants(*, only_stated: bool) -> bool:
    """Look for all mutants; tells whether each was found."""
    begin(None, has_thread=True)
    from tests.simulation import search

    found = []
    for one in search.look_again() if only_stated else search.look_for_all(MOST_SEEDS_A_MUTANT):
        seconds = f"{one.cpu_seconds:.1f} s CPU"
        click.echo(f"{one.mutant}: {'not found' if one.seed is None else f'seed {one.seed}'}, {seconds} {one.shows}")
        found.append(one)
    if not only_stated:
        search.write_table(found)
    return all(one.seed is not None for one in found)


def _run(seeds: range, begun: Callable[[], None], processes: int) -> Iterator[Outcome]:
    with (
        multiprocessing.Pool(processes, begun, maxtasksperchild=SEEDS_A_PROCESS) as pool,
        counted_progress() as progress,
    ):
        task = progress.add_task("seeds", total=len(seeds))
        for outcome in pool.imap_unordered(run_seed, seeds):
            progress.advance(task)
            yield outcome


def _report(outcomes: list[Outcome], options: str) -> None:
    failed = sorted((outcome for outcome in outcomes if outcome.problems), key=lambda outcome: outcome.seed)
    for outcome in failed:
        click.echo(f"seed {outcome.seed}: {'; '.join(outcome.problems)}")
        click.echo(f"  replay: python -m tests.simulation --seed {outcome.seed}{options}")
    click.echo(
        f"{len(outcomes)} seeds, {len(failed)} with a problem; {sum(one.events for one in outcomes)} events, "
        f"{sum(one.duplicates for one in outcomes)} records twice"
    )


if __name__ == "__main__":
    main()
