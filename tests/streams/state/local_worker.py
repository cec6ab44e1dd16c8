"""The tables of a worker on a data folder of its own."""

from pathlib import Path
from typing import Any, NoReturn

import faust
from prometheus_client import CollectorRegistry

from streams.metrics import DeliveryMetrics
from streams.state.local import LocalState
from streams.state.table import StateTable

PARTITION = 3


class Worker:
    """The tables of a worker on one data folder, opened anew for every life of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.aborted: list[BaseException] = []
        self.metrics = DeliveryMetrics(CollectorRegistry())
        self._made = 0

    def store(self) -> LocalState:
        """Start: a new process would have its own app."""
        self._made += 1
        app: Any = faust.App(
            f"test-local-state-{self._made}",
            broker="kafka://127.0.0.1:1",
            store="rocksdb://",
            datadir=self.folder,
            Table=StateTable,
        )
        app.delivery_metrics, app.abort = self.metrics, self._abort
        table: Any = app.Table(
            "visitors",
            key_type=bytes,
            value_type=bytes,
            options={"driver": "rocksdict", "block_cache_size": 1 << 16, "write_buffer_size": 1 << 16},
        )
        store = table.data
        assert isinstance(store, LocalState)
        return store

    def _abort(self, error: BaseException) -> NoReturn:
        self.aborted.append(error)
        raise SystemExit(str(error))

    @property
    def healed(self) -> float:
        """Count what the metric counts."""
        return self.metrics.partitions_healed._value.get()  # type: ignore[no-any-return]
