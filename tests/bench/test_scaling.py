import math
from dataclasses import replace

import pytest

from bench.scaling import Machine, Rates, Run, Section, Shop, Stage, line, passes, plan, rates_table
from bench.steps import Step


def stage(unit: str, **lines: tuple[float, float]) -> Stage:
    """Return what n=100 and n=200 give by lines of (start, slope) for fields of Run; the others are 0."""
    runs = []
    for n in (100, 200):
        values = {name: start + slope * n for name, (start, slope) in lines.items()}
        runs.append(Run(n, **{"seconds": 0.0, "cpu_seconds": 0.0, "peak_bytes": 0, **values}))  # type: ignore[arg-type]
    return Stage(unit, *runs)


def rates(*, step_bytes: int = 2_000_000) -> Rates:
    """Return round figures: an answer takes 1 us a product, a record of sessions 36 us beyond 5 s, and so on."""
    by_items = stage("items", peak_bytes=(1e9, 1_000.0), bytes_out=(0.0, 1_000.0), each_cpu_us=(0.0, 1.0))
    names = (
        "train",
        "evaluate",
        "infer",
        "load in a worker",
        "load in a model server",
        "publish to S3",
        "fetch from S3",
    )
    by_records = {
        "sessions": stage("events", cpu_seconds=(5.0, 36e-6), bytes_in=(0.0, 100.0), bytes_out=(0.0, 10.0)),
        "features": stage("sessions", cpu_seconds=(5.0, 0.0), bytes_in=(0.0, 500.0)),
        "tfrecords": stage("sessions", cpu_seconds=(5.0, 0.0)),
        "train": stage("sessions", peak_bytes=(1e9, 1_000.0)),
        "evaluate": stage("targets", cpu_seconds=(5.0, 1e-3)),
        "infer": stage("visitors", bytes_out=(0.0, 900.0)),
    }
    return Rates(
        machine=Machine("2026-11-29", 2, (0.0, 0.0)),
        items=10_000,
        events_per_session=10.0,
        targets_per_session=4.0,
        list_bytes=900.0,
        by_records=by_records,
        by_items=dict.fromkeys(names, by_items),
        release_memory=stage("items", peak_bytes=(0.0, 536.870912)),
        steps=[Step(1, 100.0, 160.0, 0, 1.0), Step(2, 100.0, 160.0, step_bytes, 0.5)],
    )


SHOP = Shop(
    members=1_000_000,
    products=1_000_000,
    events_per_day=8_640_000,
    peak=1.0,
    worker_cpu_ms=7.0,
    trained_sessions=8_640_000,
    hours=1.0,
    cores=16,
    network_gbit=1.0,
)


def cell(sections: list[Section], row: str, column: str) -> str:
    """Find a figure of the plan."""
    found = [
        cells[section.columns.index(column)]
        for section in sections
        if column in section.columns
        for cells in section.rows
        if cells[0].startswith(row)
    ]
    assert len(found) == 1, found
    return found[0]


def test_two_sizes_part_the_start_from_the_rate() -> None:
    """What both have in common is the start; where the larger was not dearer, there is no rate to tell."""
    found = line((10, 7.0), (30, 11.0))
    assert (found.start, found.slope, found.at(100), found.reaches(25.0)) == (5.0, 0.2, 25.0, 100.0)
    level = line((10, 7.0), (30, 5.0))
    assert (level.start, level.slope, level.reaches(1e9)) == (6.0, 0.0, math.inf)


def test_workers_are_as_many_as_the_peak_keeps_busy_at_seven_tenths() -> None:
    """A hundred events a second of 7 ms fill one core at 70 %, and three times the peak three."""
    assert cell(plan(rates(), SHOP), "workers", "processes") == "1"
    peak = replace(SHOP, peak=3.0)
    assert cell(plan(rates(), peak), "workers", "processes") == "3"
    assert cell(plan(rates(), peak), "Kafka: clicks", "processes") == "9 partitions"


def test_an_answer_grows_with_the_products() -> None:
    """A million products at 1 us are a second of processor time, for model servers and for daily lists alike."""
    sections = plan(rates(), SHOP)
    assert cell(sections, "model servers", "load") == "100 rows/s of 1,000 ms"
    assert cell(sections, "model servers", "cores") == "143"
    assert cell(sections, "infer", "core hours") == "278"
    half = replace(SHOP, products=500_000)
    assert cell(plan(rates(), half), "infer", "core hours") == "139"


def test_daily_jobs_take_their_start_and_what_each_record_takes() -> None:
    """8.64 million events of 36 us, and 5 s."""
    sections = plan(rates(), SHOP)
    assert cell(sections, "sessions", "core hours") == f"{(8_640_000 * 36e-6 + 5) / 3600:.4f}"
    assert cell(sections, "sessions", "GB in") == "0.864"


def test_more_machines_are_recommended_until_the_wire_is_what_takes_the_time() -> None:
    """Of a step of 160 ms on 16 cores machines take 10 ms away at most, the wire adds 8 ms a megabyte."""
    alone = next(one for one in plan(rates(), SHOP) if one.title.startswith("Training"))
    assert [row[0] for row in alone.rows if "recommended" in row[0]] == ["1, recommended"]
    small = next(one for one in plan(rates(step_bytes=1_000), SHOP) if one.title.startswith("Training"))
    assert [row[0] for row in small.rows if "recommended" in row[0]] == ["16, recommended"]
    assert [row[4] for row in alone.rows][:2] == ["1.00", "0.24"]


def test_a_training_learns_what_its_hours_let_it() -> None:
    """8.64 million sessions of 4 targets, all passes, in steps of 512; an hour has 360,000 of 10 ms."""
    section = next(one for one in plan(rates(), SHOP) if one.title.startswith("Training"))
    n_steps = 8_640_000 * 4 * passes() / 512
    assert passes() == pytest.approx((7 + 6) * 0.9 + 7)
    assert section.rows[0][-1] == f"{360_000 / n_steps:.1%}"


def test_limits_say_where_they_are_reached() -> None:
    """512 MiB at 536.870912 bytes a product hold a million; memory is drawn on from its start."""
    sections = plan(rates(), SHOP)
    assert cell(sections, "serving.release_max_memory_bytes", "reached at") == "1,000,000 products"
    assert cell(sections, "memory of a model server's", "reached at") == "63,000,000 products"
    assert cell(sections, "memory of a model server's", "this shop") == "2.00 GB"


def test_a_table_of_rates_has_every_stage_once() -> None:
    """Those by records, and those by products under names of their own."""
    names = [row[0] for row in rates_table(rates()).rows]
    assert len(names) == len(set(names)) == 13


def test_a_section_is_written_as_a_document_has_it() -> None:
    """A table of Markdown."""
    assert Section("t", ("a", "b"), (("1", "2"),)).markdown() == "| a | b |\n| --- | --- |\n| 1 | 2 |"
