"""What invented visitors cost a worker's memory: each clicks once, with an item and a place of its own, and is gone.

The clicks go through the worker's own decisions, and the states lie in RocksDB as a worker's do.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from agents.clicks.visitor_states import VisitorStates
from bench.memory_store import DiskStore
from streams.sessions.rules import SessionRules
from tests.agents.conftest import OneWorker

MS_BETWEEN = 5


def held_by_invented_ids(folder: Path, counts: Sequence[int], held_bytes: Callable[[], int]) -> Iterator[int]:
    """Let visitors come until there are as many as each of `counts`, rising; returns what is held then.

    folder: for the states. held_bytes: measures.
    """
    worker = OneWorker(folder / "models", SessionRules())
    disk = DiskStore(folder, partitions=1)
    worker.states = VisitorStates(disk, worker.metrics)
    worker.states.open_partition(0, ())
    number = 0
    try:
        for count in counts:
            while number < count:
                visitor = f"{number:032d}"
                worker.decide(visitor, number * MS_BETWEEN, item_id=f"item-{visitor}", location=f"place-{visitor}")
                number += 1
            yield held_bytes()
    finally:
        disk.close()
