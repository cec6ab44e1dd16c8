"""CPU time of a session-kNN query, compiled and in NumPy: `python -m bench.knn DATA --format F`."""

import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from session_model.data.formats import DATA_FORMATS, DataFormat, read_sessions
from session_model.data.item_sequences import item_sequences
from session_model.data.vocabulary import Vocabulary
from session_model.ranking import knn_kernel, knn_numpy
from session_model.ranking.knn import SHORT_MEMORY, SessionKnn

QUERIES = 2_000


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--format", "data_format", type=click.Choice(DATA_FORMATS), required=True)
def main(data: Path, data_format: DataFormat) -> None:
    """Index the sessions of DATA and ask for what follows each prefix of the latest ones."""
    sessions = read_sessions(data, data_format)
    vocabulary = Vocabulary(sessions.item_ids)
    sequences = item_sequences(sessions, vocabulary, ("view",))
    bounds = zip(sequences.starts[:-1], sequences.starts[1:], strict=True)
    prefixes = [sequences.items[start:end] for first, last in bounds for start, end in _prefixes(first, last)]
    table = Table("kernel", "index s", "mean us", "p50 us", "p99 us", title=f"{QUERIES} queries, CPU time")
    kernels: dict[str, Any] = {"compiled": knn_kernel.Kernel, "NumPy": knn_numpy.Kernel}
    for name, kernel in kernels.items():
        begun = time.thread_time()
        knn = SessionKnn.fit(sequences.starts, sequences.items, len(vocabulary), SHORT_MEMORY, kernel)
        fitted_seconds = time.thread_time() - begun
        spent_us = []
        for prefix in prefixes[-QUERIES:]:
            begun = time.thread_time()
            knn.query(prefix)
            spent_us.append((time.thread_time() - begun) * 1e6)
        figures = (np.mean(spent_us), *np.percentile(spent_us, [50, 99]))
        table.add_row(name, f"{fitted_seconds:.2f}", *(f"{figure:.0f}" for figure in figures))
    Console().print(table)


def _prefixes(first: int, last: int) -> list[tuple[int, int]]:
    return [(first, end) for end in range(first + 1, last)]


if __name__ == "__main__":
    main()
