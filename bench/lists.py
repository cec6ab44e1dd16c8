"""What calmer lists, and lists without what was seen, cost on a log: `python -m bench.lists TRAIN F TEST F`.

Session-kNN alone ranks: it is the half of the blend that needs no training, and knows each session's repeats.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from agents.clicks.list_overlap import kept_share, rank_biased_overlap
from schemas.ids import ItemId, ItemIndex
from schemas.ranking import Candidates
from session_model.data.formats import DATA_FORMATS, DataFormat, read_sessions
from session_model.data.item_sequences import item_sequences
from session_model.data.vocabulary import Vocabulary
from session_model.ranking.kept import with_kept
from session_model.ranking.knn import LONG_MEMORY, SHORT_MEMORY, SessionKnn

K = 20
CANDIDATES = 100

Lister = Callable[[Candidates, Sequence[int], set[int]], list[int]]
"""Makes a list of a ranking, the list before it and the items of the session so far."""


def as_ranked(ranking: Candidates, _before: Sequence[int], _seen: set[int]) -> list[int]:
    """Take the first ones."""
    return ranking.item_indices[:K].tolist()  # type: ignore[no-any-return]


def kept(bonus: float) -> Lister:
    """Let `serving.keep_bonus` hold."""

    def lister(ranking: Candidates, before: Sequence[int], _seen: set[int]) -> list[int]:
        again = with_kept(ranking, [ItemIndex(item) for item in before], bonus) if before else ranking
        return again.item_indices[:K].tolist()  # type: ignore[no-any-return]

    return lister


def without_seen(ranking: Candidates, _before: Sequence[int], seen: set[int]) -> list[int]:
    """Let `serving.recommend_seen` be false."""
    return [item for item in ranking.item_indices.tolist() if item not in seen][:K]


LISTERS: dict[str, Lister] = {
    "as ranked": as_ranked,
    "keep_bonus .25": kept(0.25),
    "keep_bonus .5": kept(0.5),
    "keep_bonus 1": kept(1.0),
    "recommend_seen false": without_seen,
}


@click.command()
@click.argument("train", type=click.Path(exists=True, path_type=Path))
@click.argument("train_format", type=click.Choice(DATA_FORMATS))
@click.argument("test", type=click.Path(exists=True, path_type=Path))
@click.argument("test_format", type=click.Choice(DATA_FORMATS))
@click.option("--sessions", default=20_000, show_default=True, help="Of TEST, the first ones.")
def main(train: Path, train_format: DataFormat, test: Path, test_format: DataFormat, sessions: int) -> None:
    """Index the sessions of TRAIN, and make a list for each click of TEST on an item of TRAIN."""
    known = read_sessions(train, train_format)
    vocabulary = Vocabulary(known.item_ids)
    past = item_sequences(known, vocabulary, ("view",))
    coming = item_sequences(read_sessions(test, test_format), vocabulary, ("view",)).known()
    rows = [row for row in _rows(coming.starts, coming.items) if len(row) > 1][:sessions]
    repeats = [row[at] in row[:at] for row in rows for at in range(1, len(row))]
    share = f"{len(repeats):,} next clicks, {np.mean(repeats):.1%} of them repeats"
    for memory, settings in {"SHORT_MEMORY": SHORT_MEMORY, "LONG_MEMORY": LONG_MEMORY}.items():
        knn = SessionKnn.fit(past.starts, past.items, len(vocabulary), settings)
        table = Table("list", "Recall@20", "MRR@20", "kept of 10", "overlap", title=f"{memory}: {share}")
        rankings = [[knn.query(np.array(row[:at], np.int32), CANDIDATES) for at in range(1, len(row))] for row in rows]
        for name, lister in LISTERS.items():
            table.add_row(name, *(f"{figure:.4f}" for figure in _measured(lister, rows, rankings)))
        Console().print(table)


def _rows(starts: NDArray[np.int64], items: NDArray[np.int32]) -> Iterator[list[int]]:
    for first, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        yield items[first:end].tolist()


def _measured(
    lister: Lister, rows: Sequence[list[int]], rankings: Sequence[Sequence[Candidates]]
) -> tuple[float, float, float, float]:
    ranks, stays, overlaps = list[float](), list[float](), list[float]()
    for row, of_row in zip(rows, rankings, strict=True):
        before = list[int]()
        for at, ranking in enumerate(of_row, 1):
            now = lister(ranking, before, set(row[:at]))
            ranks.append(1 / (now.index(row[at]) + 1) if row[at] in now else 0.0)
            if before:
                one, other = ([ItemId(str(item)) for item in items] for items in (before, now))
                stays.append(kept_share(one, other))
                overlaps.append(rank_biased_overlap(one, other))
            before = now
    figures = np.array(ranks)
    return float((figures > 0).mean()), float(figures.mean()), float(np.mean(stays)), float(np.mean(overlaps))


if __name__ == "__main__":
    main()
