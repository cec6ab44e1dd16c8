"""What earlier versions wrote is read as they read it: a release and a state folder, made before the packages moved.

`release` is a training of the generated shop, `answers.json` what it answered then; `state` a partition of a worker,
and `states.json` its states. They change with the format's number only.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import faust
import msgspec
import pytest
from faust.types import TP
from prometheus_client import CollectorRegistry

from schemas.ranking import Candidates
from schemas.records import SessionEvent
from schemas.state import VisitorState, decode_state
from session_model.release.copies import load_release
from streams.metrics import DeliveryMetrics
from streams.state.fenced_store import FencedStore
from streams.state.fencing import Owner
from streams.state.table import StateTable

GOLDEN = Path(__file__).parent
CHANGELOG = TP("states-changelog", 2)


def test_a_release_of_an_earlier_version_answers_as_it_did() -> None:
    """Neighbours, blend, popularity and intent of one session."""
    release = load_release(GOLDEN / "release")
    items = ("item-000058", "item-000057", "item-000012")
    times_ms = range(1767571200000, 1767571260000, 20_000)
    session = release.encode(
        [SessionEvent("view", time, item, 9.5) for time, item in zip(times_ms, items, strict=True)]
    )

    def named(candidates: Candidates) -> list[str]:
        """Return the ten best."""
        return [release.item_id(index) for index in candidates.item_indices[:10].tolist()]

    neighbours = release.neighbours(session.items)
    told = json.loads((GOLDEN / "answers.json").read_text())
    assert named(neighbours) == told["neighbours"]
    assert named(release.popular()) == told["popular"]
    assert named(release.blend(release.popular(), neighbours, session.items)) == told["blend"]
    assert list(release.intent(session.features)) == pytest.approx(told["intent"])


def test_a_state_folder_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """Every state, whose the partition is, and how far the changelog was read."""
    shutil.copytree(GOLDEN / "state", tmp_path, dirs_exist_ok=True)
    app: Any = faust.App("t", broker="kafka://127.0.0.1:1", store="rocksdb://", datadir=tmp_path, Table=StateTable)
    app.delivery_metrics = DeliveryMetrics(CollectorRegistry())
    app.finalize()
    options = {"driver": "rocksdict", "block_cache_size": 1 << 20, "write_buffer_size": 1 << 20}
    store: FencedStore = app.Table("states", key_type=bytes, value_type=bytes, partitions=4, options=options).data
    database = store._db_for_partition(CHANGELOG.partition)
    found = {key.decode(): decode_state(value) for key, value in store._visible_items(database)}
    assert found == msgspec.json.decode((GOLDEN / "states.json").read_bytes(), type=dict[str, VisitorState])
    assert store.persisted_offset(CHANGELOG) == 160
    assert store.owner(CHANGELOG.partition) == Owner(7, b"worker-a")
