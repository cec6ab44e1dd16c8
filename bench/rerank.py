"""What reranking a row takes by the rows that are ranked at once: `python -m bench.rerank`.

Lists, sessions and weights are drawn at random, as large as a release's; by compiled loops and by NumPy.
"""

import os
import time
from types import ModuleType
from typing import Final

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from schemas.ranking import Candidates
from session_model.ranking import rerank_kernel, rerank_numpy
from session_model.ranking.blend import BlendWeights
from session_model.ranking.popularity import Popularity
from session_model.ranking.reranker import FEATURE_NAMES, CandidateSources, Reranker, rerank_many

N_ITEMS: Final = 2_000
MOST_ITEMS: Final = 20
CANDIDATES: Final = 100
HIDDEN: Final = 32
ROUNDS: Final = 5
"""The fastest counts: the others were disturbed."""


def drawn_rows(n_rows: int) -> list[CandidateSources]:
    """Draw what is known before clicks."""
    rng = np.random.default_rng(1)
    popularity = Popularity.fit((rng.zipf(1.3, 20_000) % N_ITEMS + 1).astype(np.int32), N_ITEMS)

    def drawn(most: int) -> Candidates:
        items = rng.permutation(np.arange(1, N_ITEMS + 1))[:most].astype(np.int32)
        return Candidates(items, np.sort(rng.exponential(1, most).astype(np.float32))[::-1].copy())

    return [
        CandidateSources(
            drawn(CANDIDATES),
            drawn(int(rng.integers(0, CANDIDATES + 1))),
            rng.integers(1, N_ITEMS + 1, rng.integers(1, MOST_ITEMS + 1)).astype(np.int32),
            popularity,
        )
        for _ in range(n_rows)
    ]


def drawn_reranker() -> Reranker:
    """Draw the weights of a network as large as a fitted one."""
    rng, n = np.random.default_rng(2), len(FEATURE_NAMES)
    hidden = tuple(map(tuple, rng.normal(0, 0.3, (n, HIDDEN)).tolist()))
    linear, bias, output = (tuple(rng.normal(0, 0.3, size).tolist()) for size in (n, HIDDEN, HIDDEN))
    return Reranker(FEATURE_NAMES, linear, hidden, bias, output, BlendWeights(0.4, 0.1))


def cpu_us(reranker: Reranker, rows: list[CandidateSources], batch: int, kernel: ModuleType) -> float:
    """Return microseconds of processor time a row, all threads together."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for start in range(0, len(rows), batch):
            rerank_many(reranker, rows[start : start + batch], CANDIDATES, kernel)
        best = min(best, time.process_time() - began)
    return 1e6 * best / len(rows)


@click.command()
@click.option("--rows", "n_rows", default=1_280, show_default=True)
def main(n_rows: int) -> None:
    """Print CPU us a row."""
    rows, reranker = drawn_rows(n_rows), drawn_reranker()
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "any number of")
    table = Table("rows at once", "compiled", "joined by NumPy", title=f"CPU us a row, {threads} BLAS threads")
    for batch in (1, 4, 32, 128):
        figures = (cpu_us(reranker, rows, batch, kernel) for kernel in (rerank_kernel, rerank_numpy))
        table.add_row(str(batch), *(f"{figure:.0f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
