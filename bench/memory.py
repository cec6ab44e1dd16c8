"""Memory, disk and start of a worker by the number of its visitors: `python -m bench.memory`.

The states lie in RocksDB with the worker's options, eight partitions of them; the process is this program, without
Kafka, model and catalog. Most visitors of a month have no open session, so that is measured apart from those who have.
"""

import json
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

import click

from agents.clicks.step import StateWrite
from agents.clicks.visitor_states import VisitorStates
from bench.invented_ids import held_by_invented_ids
from bench.memory_store import PARTITIONS, DiskStore, partition_of
from schemas import wire
from schemas.events import ClickEvent
from schemas.ids import EventId, ItemId, VisitorId
from schemas.records import CatalogItem
from schemas.state import InputPosition, VisitorState, encode_state, read_header
from streams.catalog import Catalog
from streams.sessions.rules import SessionRules
from streams.sessions.sessionizer import Arrival, InputTopics, Sessionizer

START_MS: Final = 1_700_000_000_000
ITEMS: Final = 100_000
EVENTS: Final = 8
MIB: Final = 2**20
_Measured = TypeVar("_Measured")


@click.command()
@click.option("--visitors", "counts", default="100000,300000,1000000", show_default=True, help="Where to look, rising.")
def main(counts: str) -> None:
    """Fill a table with visitors, quiet ones and then ones in a session, and print what they cost."""
    steps = [int(count) for count in counts.split(",")]
    measured: dict[str, Any] = {
        "quiet": visitors_held(steps, is_open=False),
        "in_a_session": visitors_held(steps, is_open=True),
        "invented": _in_a_process_of_its_own(_measure_invented, steps),
        "bytes_per_item_in_the_catalog": _bytes_each(_catalog, ITEMS),
    }
    click.echo(json.dumps(measured, indent=2))


def visitors_held(steps: list[int], *, is_open: bool) -> dict[str, Any]:
    """Fill a table with visitors, and look at its cost at each of `steps`, rising numbers of them."""
    return _in_a_process_of_its_own(partial(_measure, is_open=is_open), steps)


def _in_a_process_of_its_own(measure: Callable[..., _Measured], *arguments: Any) -> _Measured:
    """Measure in a fresh process: what one has freed would hide what the next takes."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def _measure(steps: list[int], *, is_open: bool) -> dict[str, Any]:
    sessionizer = Sessionizer(SessionRules(), InputTopics("clickstream", "session-control"))
    state = state_of_eight_events(sessionizer, is_open=is_open)
    due_ms, is_quiet = sessionizer.due_ms(state), sessionizer.is_quiet(state)
    value = encode_state(state, due_ms=due_ms, is_quiet=is_quiet)
    with tempfile.TemporaryDirectory() as folder:
        store = DiskStore(Path(folder))
        states = VisitorStates(store)
        for partition in range(PARTITIONS):
            states.open_partition(partition, ())
        before, number, rows, order = _rss_bytes(), 0, list[dict[str, int]](), Random(1)
        for count in steps:
            started = time.perf_counter()
            for visitor in range(number, count):
                key = b"%032d" % visitor
                states.write(partition_of(key), StateWrite(key, with_items_of_its_own(value, order)))
            write_seconds = time.perf_counter() - started
            rows.append(
                {
                    "visitors": count,
                    "rss_mib": round(_rss_bytes() / MIB),
                    "rss_bytes_a_visitor": round((_rss_bytes() - before) / count),
                    "disk_bytes_a_visitor": round(_disk_bytes(Path(folder)) / count),
                    "writes_a_second": round((count - number) / write_seconds),
                }
            )
            number = count
        started = time.perf_counter()
        for partition in range(PARTITIONS):
            states.open_partition(partition, ((key, read_header(value)) for key, value in store.items(partition)))
        index_seconds = time.perf_counter() - started
        store.close()
    return {
        "state_bytes": len(value),
        "steps": rows,
        "seconds_to_index_a_million": round(index_seconds * 1e6 / number, 1),
    }


def _measure_invented(steps: list[int]) -> list[dict[str, int]]:
    """Measure what ids that click once cost, through the worker's own decisions."""
    with tempfile.TemporaryDirectory() as folder:
        before, *held = held_by_invented_ids(Path(folder), [0, *steps], _rss_bytes)
    return [
        {
            "visitors": count,
            "rss_mib": round(rss_bytes / MIB),
            "rss_bytes_a_visitor": round((rss_bytes - before) / count),
        }
        for count, rss_bytes in zip(steps, held, strict=True)
    ]


def state_of_eight_events(sessionizer: Sessionizer, *, is_open: bool) -> VisitorState:
    """Make the state of a visitor of eight events, one of them a purchase."""
    state: VisitorState | None = None
    for number in range(EVENTS):
        event = ClickEvent(
            visitor_id=VisitorId("v"),
            event_type="purchase" if number == EVENTS - 1 else "view",
            event_time=START_MS + number * 20_000,
            item_id=ItemId(f"item-{number:012x}"),
            event_id=EventId(f"event-{number}"),
        )
        position = InputPosition("clickstream", 0, number)
        state = sessionizer.advance(state, (event,), Arrival(position, event.event_time_ms)).state
    assert state is not None
    if is_open:
        return state
    for offset in (0, 9):  # the second finds that the session's end is surely sent
        result = sessionizer.tick(state, InputPosition("session-control", 0, offset), START_MS + 3_600_000)
        assert result is not None
        assert result.state is not None
        state = result.state
    return state


def with_items_of_its_own(value: bytes, order: Random) -> bytes:
    """Return other items to a state, as no two visitors have the same: RocksDB compresses what repeats."""
    for number in range(EVENTS):
        value = value.replace(b"%012x" % number, order.randbytes(6).hex().encode())
    return value


def _rss_bytes() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def _disk_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _bytes_each(fill: Callable[[int], object], count: int) -> int:
    tracemalloc.start()
    kept = fill(count)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return round(held / count)


def _catalog(count: int) -> Catalog:
    catalog = Catalog()
    for number in range(count):
        item = CatalogItem(
            item_id=ItemId(f"item-{number}"), title=f"Oak chair number {number}", category=f"c{number % 50}", price=9.5
        )
        catalog.apply(item.item_id.encode(), wire.encode(item))
    return catalog


if __name__ == "__main__":
    main()
