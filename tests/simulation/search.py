"""Looks for the first seed that shows a mutant, and keeps the table of them in docs/simulation.md."""

import multiprocessing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from tests.simulation import mutants, seeds

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "simulation.md"
_BEGIN: Final = "<!-- written by `python -m tests.simulation --mutants` -->\n"
_END: Final = "<!-- end -->\n"
_HEAD: Final = "| mutant | what it does | seed | CPU s | what shows |\n|---|---|---|---|---|\n"


@dataclass(frozen=True, slots=True)
class Found:
    """The first seed tried that shows a mutant, or None, and what the search took. shows: its first problem."""

    mutant: str
    seed: int | None
    cpu_seconds: float
    shows: str

    @property
    def row(self) -> str:
        """Write it as a row of the table."""
        does = (mutants.MUTANTS[self.mutant].__doc__ or "").splitlines()[0].removesuffix(".")
        seed = "none" if self.seed is None else self.seed
        beside = f"; beside it `{mutants.BESIDE[self.mutant]}`" if self.mutant in mutants.BESIDE else ""
        return f"| `{self.mutant}` | {does}{beside} | {seed} | {self.cpu_seconds:.1f} | {self.shows} |\n"


def look_for_all(most_seeds: int) -> Iterator[Found]:
    """Look for every mutant from seed 0 on, a rare one from later; this process must be a simulated world."""
    starts = {name: mutants.RARE.get(name, 0) for name in mutants.MUTANTS}
    return (_found(name, range(start, start + most_seeds)) for name, start in starts.items())


def look_again() -> Iterator[Found]:
    """Look for every mutant at the seed that the table states, and for one that it does not have nowhere."""
    seed_of = _stated()
    return (_found(name, range(seed_of.get(name, 0), seed_of.get(name, -1) + 1)) for name in mutants.MUTANTS)


def _found(name: str, among: range) -> Found:
    """Look for a mutant, at seeds that show nothing of what is taken out beside it."""
    cpu_seconds = 0.0
    while True:
        found = _in_a_copy(name, among)
        cpu_seconds += found.cpu_seconds
        beside = mutants.BESIDE.get(name)
        if found.seed is None or beside is None or _in_a_copy(beside, range(found.seed, found.seed + 1)).seed is None:
            return replace(found, cpu_seconds=cpu_seconds)
        among = range(found.seed + 1, among.stop)


def _in_a_copy(name: str, among: range) -> Found:
    """Look for a mutant in a copy of this process."""
    forked = multiprocessing.get_context("fork")
    here, there = forked.Pipe(duplex=False)
    process = forked.Process(target=_look, args=(there, name, among))
    process.start()
    there.close()
    found: Found = here.recv()
    process.join()
    return found


def _look(answer: Connection, name: str, among: range) -> None:
    mutants.apply(name)
    cpu_seconds = 0.0
    for seed in among:
        outcome = seeds.run_seed(seed)
        cpu_seconds += outcome.cpu_seconds
        if outcome.problems:
            answer.send(Found(name, seed, cpu_seconds, _short(outcome.problems[0])))
            return
    answer.send(Found(name, None, cpu_seconds, ""))


def _short(problem: str) -> str:
    """Leave out the ids and offsets."""
    for detail in (", first", ": committed", ": a bug, of"):
        problem = problem.partition(detail)[0]
    return problem.replace("|", " ")


def write_table(found: Iterable[Found]) -> None:
    """Put the rows in the place of the table."""
    before, _, rest = DOCUMENT.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    rows = "".join(one.row for one in found)
    DOCUMENT.write_text(f"{before}{_BEGIN}{_HEAD}{rows}{_END}{after}")


def _stated() -> dict[str, int]:
    """Read from the table at which seed each mutant is found."""
    _, _, rest = DOCUMENT.read_text().partition(_BEGIN)
    table, _, _ = rest.partition(_END)
    rows = [row.split("|") for row in table.removeprefix(_HEAD).splitlines()]
    return {row[1].strip(" `"): int(row[3]) for row in rows if row[3].strip().isdecimal()}
