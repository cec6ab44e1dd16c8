"""What finding the best items takes: every item scored in TensorFlow, and our search: `python -m bench.model_step`.

Batches of 32, one thread each. Recall is of the exact 100 best.
"""

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.commands import ROOT, run_bench
from bench.peers import peer_python
from bench.release import MAX_MEMORY_BYTES, TRAINING_DATA, models_of
from schemas.errors import InsessionError
from schemas.ranking import SessionReading
from schemas.servable import DEFAULT_MODEL_NAME, DEFAULT_SIGNATURE
from session_model.data.prefixes import draw_prefixes
from session_model.data.training_data import read_training_data
from session_model.intent.prefix_features import FEATURE_NAMES
from session_model.ranking.item_search import ItemSearch
from session_model.release.copies import load_release
from session_model.release.files import newest_release
from session_model.release.release import Release

CACHE: Final = Path(".bench")
BATCH: Final = 32
BATCHES: Final = 8
ROUNDS: Final = 3
"""The first of which find their memory cold."""
K: Final = 100
Prefixes = Sequence[NDArray[np.int32]]


def model_step(n_items: int, cache: Path = CACHE, *, with_peers: bool = False) -> dict[str, Any]:
    """Measure the wide release of `n_items`: milliseconds a batch, plain and ours, and recall.

    In a process of its own, whose TensorFlow and BLAS have one thread. Raises InsessionError where the catalogue is not
    searched.
    """
    models_of(cache, n_items)
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (n_items, cache), {"with_peers": with_peers})


def _measure(n_items: int, cache: Path, *, with_peers: bool) -> dict[str, Any]:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    newest = newest_release(models_of(cache, n_items) / DEFAULT_MODEL_NAME)
    release = load_release(newest, max_memory_bytes=MAX_MEMORY_BYTES)
    search = release.parts.item_search
    if search is None:
        raise InsessionError(f"a catalogue of {n_items:,} items is not searched: it is too small, or the recall was")
    data = read_training_data(cache / TRAINING_DATA, "jsonl", tuple(release.manifest.input_event_types))
    drawn = draw_prefixes(data.sequences, release.manifest.max_length, BATCH * BATCHES)
    prefixes = [one.items for one in drawn]
    sessions = _session_vectors(release, prefixes)
    items = tf.constant(search.arrays.vectors)

    plain = tf.function(
        lambda vectors: tf.math.top_k(tf.matmul(vectors, items, transpose_b=True), K).indices,
        input_signature=[tf.TensorSpec((None, None), tf.float32)],
        autograph=False,
    )
    exact, plain_ms = _timed(lambda rows, _: plain(tf.constant(rows)).numpy(), sessions, prefixes)
    found, ours_ms = _timed(lambda rows, asked: _ranked(search, rows, asked), sessions, prefixes)
    recall = np.mean([np.isin(best, rows).mean() for best, rows in zip(exact, found, strict=True)])
    step = {"plain_ms": plain_ms, "ours_ms": ours_ms, "recall": round(float(recall), 4)}
    return step | (_peers(np.asarray(search.arrays.vectors), sessions, cache) if with_peers else {})


def _session_vectors(release: Release, prefixes: Prefixes) -> NDArray[np.float32]:
    import tensorflow as tf

    items = np.zeros((len(prefixes), release.manifest.max_length), np.int32)
    for row, prefix in zip(items, prefixes, strict=True):
        row[: len(prefix)] = prefix
    model = tf.saved_model.load(str(release.directory))
    read = model.signatures[DEFAULT_SIGNATURE](
        items=tf.constant(items),
        length=tf.constant(list(map(len, prefixes)), tf.int32),
        features=tf.zeros((len(prefixes), len(FEATURE_NAMES))),
    )
    vectors: NDArray[np.float32] = read["vectors"].numpy()
    return vectors


def _ranked(search: ItemSearch, vectors: NDArray[np.float32], prefixes: Prefixes) -> list[NDArray[np.int32]]:
    """Rank as a worker does, but that nothing is returned to: so the lists are those of the vectors alone."""
    returns = np.zeros(max(map(len, prefixes)), np.float32)
    ranked = search.rank([SessionReading(vector, returns) for vector in vectors], prefixes, K)
    return [one.item_indices - 1 for one in ranked]


def _timed(
    find: Callable[[NDArray[np.float32], Prefixes], Sequence[NDArray[np.int32]]],
    sessions: NDArray[np.float32],
    prefixes: Prefixes,
) -> tuple[list[NDArray[np.int32]], float]:
    """Return what is found for each session, and the median of milliseconds a batch, in the last of `ROUNDS`."""
    for _ in range(ROUNDS):
        found, times = list[NDArray[np.int32]](), list[float]()
        for start in range(0, len(sessions), BATCH):
            began = time.perf_counter()
            found += list(find(sessions[start : start + BATCH], prefixes[start : start + BATCH]))
            times.append(time.perf_counter() - began)
    return found, round(1e3 * statistics.median(times), 2)


def _peers(vectors: NDArray[np.float32], sessions: NDArray[np.float32], cache: Path) -> dict[str, Any]:
    """Measure usearch and ScaNN; without them where they cannot be had."""
    try:
        python = peer_python("search", cache)
    except InsessionError as error:
        click.echo(f"bench: without usearch and ScaNN: {error}", err=True)
        return {}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "asked.npz"
        np.savez(path, vectors=vectors, sessions=sessions)
        run = subprocess.run([python, ROOT / "bench/search_peers.py", path], check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def steps_table(steps: Mapping[int, Mapping[str, Any]]) -> Table:
    """Draw what was measured."""
    table = Table(title=f"The best {K} of all items, batches of {BATCH}, one thread; ms, and recall@{K}")
    for heading in ("items", "every item scored", "search", "recall", "faster", "usearch", "ScaNN"):
        table.add_column(heading, justify="right")
    for n_items, step in steps.items():
        table.add_row(
            f"{n_items:,}",
            f"{step['plain_ms']:.1f}",
            f"{step['ours_ms']:.1f}",
            f"{step['recall']:.3f}",
            f"{step['plain_ms'] / step['ours_ms']:.1f} x",
            *_beside(step),
        )
    return table


def _beside(step: Mapping[str, Any]) -> Iterator[str]:
    for name in ("usearch", "scann"):
        yield f"{step[name]['ms']:.1f}, {step[name]['recall']:.3f}" if name in step else ""


@click.command()
@click.argument("n_items", type=int, nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of the table.")
@click.option("--peers", "with_peers", is_flag=True, help="usearch and ScaNN, too: a graph of a million takes minutes.")
def main(n_items: tuple[int, ...], *, as_json: bool, with_peers: bool) -> None:
    """Measure wide releases of N_ITEMS (40000 and 1000000)."""
    steps = {number: model_step(number, with_peers=with_peers) for number in n_items or (40_000, 1_000_000)}
    if as_json:
        click.echo(json.dumps(steps, indent=2))
    else:
        Console().print(steps_table(steps))


if __name__ == "__main__":
    run_bench(main)
