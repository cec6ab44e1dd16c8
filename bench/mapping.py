"""CPU time to read a record by a mapping, beside one of our own clicks: `python -m bench.mapping`.

The records are those of `insession demo --shape`. The subjects take turns, and each one's best round counts; ratios
within one run compare, times of different machines do not.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import click
from msgspec import structs
from rich.console import Console
from rich.table import Table

from agents.demo.shapes import SHAPES, FedRecord, as_records
from agents.demo.source import FedEvent, ShopOptions, shop_source
from agents.shop.settings import ShopSettings
from schemas.click_reader import ClickReader, Clicks
from schemas.ids import ItemId
from schemas.mapping import FieldMapping, Format

ORDER_LINES = 10


@dataclass(frozen=True, slots=True)
class Cost:
    """Of reading one record; ratio: to one of our own clicks, in the same run."""

    records: str
    microseconds: float
    ratio: float


@dataclass(frozen=True, slots=True)
class _Subject:
    name: str
    reader: ClickReader
    records: Sequence[FedRecord]


@click.command()
@click.option("--events", type=click.IntRange(min=100), default=5_000, show_default=True, help="Of the generated shop.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="The subjects take turns.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there.")
def main(events: int, rounds: int, json_path: Path | None) -> None:
    """Print microseconds a record: our own clicks, three vendors' events, pages that are ignored, an order."""
    costs = _costs(_subjects(events), rounds)
    table = Table("records", "us a record", "ratio", title=f"CPU time, the best of {rounds} rounds")
    for cost in costs:
        table.add_row(cost.records, f"{cost.microseconds:.1f}", f"{cost.ratio:.1f}")
    Console().print(table)
    if json_path is not None:
        json_path.write_text(json.dumps([asdict(cost) for cost in costs], indent=2) + "\n")


def _subjects(n_events: int) -> list[_Subject]:
    shop = shop_source(ShopOptions(settings=ShopSettings(n_items=240)), with_training=False)
    events = [event for event in islice(shop.events(), n_events) if event.click.event_type == "view"]
    subjects = [_subject("our own", "insession", list(as_records(events)))]
    renamed = ClickReader(FieldMapping(values={"event_type": {"look": "view"}}))
    subjects.append(_Subject("our own, event types renamed", renamed, subjects[0].records))
    for shape in SHAPES:
        records = list(as_records(events, shape))
        subjects.append(_subject(f"{shape}, a view", shape, [one for one in records if one.clicks]))
        subjects.append(_subject(f"{shape}, ignored", shape, [one for one in records if not one.clicks]))
        order = list(as_records(_order(events[0]), shape))
        subjects.append(_subject(f"{shape}, {ORDER_LINES} lines", shape, [one for one in order if one.clicks] * 200))
    return subjects


def _subject(name: str, record_format: Format, records: list[FedRecord]) -> _Subject:
    reader = ClickReader(FieldMapping(format=record_format))
    for record in records:
        found = reader.read(record.key, record.value, record.due_ms)
        assert (len(found.events) if isinstance(found, Clicks) else 0) == len(record.clicks), found
    return _Subject(name, reader, records)


def _order(event: FedEvent) -> list[FedEvent]:
    lines = [
        structs.replace(event.click, event_type="purchase", item_id=ItemId(f"item-{number}"), quantity=1)
        for number in range(ORDER_LINES)
    ]
    return [FedEvent(line, event.due_ms, None) for line in lines]


def _costs(subjects: Sequence[_Subject], rounds: int) -> list[Cost]:
    best_us = [min(times) for times in zip(*([_spent_us(one) for one in subjects] for _ in range(rounds)), strict=True)]
    return [Cost(one.name, spent, spent / best_us[0]) for one, spent in zip(subjects, best_us, strict=True)]


def _spent_us(subject: _Subject) -> float:
    begun = time.thread_time()
    for record in subject.records:
        subject.reader.read(record.key, record.value, record.due_ms)
    return (time.thread_time() - begun) * 1e6 / len(subject.records)


if __name__ == "__main__":
    main()
