"""What runs where for a shop of a given size: arithmetic from the rates of `make pipeline-bench`; docs/scaling.md.

All is linear in what it is said to grow with. Two sizes of each stage part what a start costs from what a record costs.
"""

import math
from dataclasses import dataclass
from typing import Final

import msgspec

from bench.steps import Step, recommended
from session_model.data.training_data import VALIDATION_SHARE
from session_model.release.memory import DEFAULT_MAX_MEMORY_BYTES
from session_model.training.presets import DEFAULT_RECIPES
from streams.settings import StreamSettings

UTILISATION: Final = 0.7
"""Of a core at the peak: docs/operations.md, Scaling."""
PARTITIONS_A_WORKER: Final = 3
"""So that workers can be added without the outage of more partitions."""
CATALOG_BYTES: Final = 330
"""Of a described item in a worker: docs/operations.md, Sizing; as the next two are."""
OPEN_SESSION_BYTES: Final = 40
PARTITION_BYTES: Final = 1.5 * StreamSettings().rocksdb_cache_bytes
TEST_SHARE: Final = 0.1
MACHINES: Final = (1, 2, 4, 8, 16)
BATCH_TARGETS: Final = DEFAULT_RECIPES[0].training.batch_targets
ANSWER_BUDGET_MS: Final = 10.0
"""Processor time of an answer at which one core has a hundred a second."""
_VERSIONS_SERVED: Final = 2
"""`latest { num_versions: 2 }`: while one comes, the other answers."""
_RELEASES_OF_A_WORKER: Final = 2
_KEPT_COPIES: Final = 3
_BY_S3: Final = ("publish to S3", "fetch from S3")
_DAY_SECONDS: Final = 86_400
_GB: Final = 1e9


@dataclass(frozen=True, slots=True)
class Line:
    """start + slope * n."""

    start: float
    slope: float

    def at(self, n: float) -> float:
        """Return the value at `n`."""
        return self.start + self.slope * n

    def reaches(self, value: float) -> float:
        """Return the n at which the line is at `value`; infinity where it never is."""
        return (value - self.start) / self.slope if self.slope > 0 else math.inf


def line(small: tuple[float, float], large: tuple[float, float]) -> Line:
    """Lay a line through two points (n, value); one that falls is level, at their mean: what was measured is noise."""
    (n, low), (m, high) = small, large
    slope = (high - low) / (m - n)
    return Line(low - slope * n, slope) if slope > 0 else Line((low + high) / 2, 0.0)


class Run(msgspec.Struct, frozen=True):
    """A command at one size. n: of what the stage grows with. peak_bytes: of all its processes.

    bytes_in, bytes_out: of the files that it read and wrote.
    each_cpu_us: processor time of a record without any start, by the command's own account; 0 where it gives none.
    """

    n: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    bytes_in: int = 0
    bytes_out: int = 0
    each_cpu_us: float = 0.0


class Stage(msgspec.Struct, frozen=True):
    """A command at two sizes; unit: what n counts."""

    unit: str
    small: Run
    large: Run

    def of(self, field: str) -> Line:
        """Return the line of a field of `Run`."""
        runs = (self.small, self.large)
        first, second = ((float(run.n), float(getattr(run, field))) for run in runs)
        return line(first, second)


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured; load: of the last minute, before and after."""

    day: str
    cores: int
    load: tuple[float, float]


class Rates(msgspec.Struct, frozen=True):
    """What `make pipeline-bench` measures.

    by_records: stages by what they read, with `items` products. by_items: stages of a release, by its products, from
    sessions that click each product twice. list_bytes: of a record of `infer`, unpacked. release_memory: what a worker
    counts against serving.release_max_memory_bytes, by products. steps: of the default preset's first recipe, at the
    larger number of products.
    """

    machine: Machine
    items: int
    events_per_session: float
    targets_per_session: float
    list_bytes: float
    by_records: dict[str, Stage]
    by_items: dict[str, Stage]
    release_memory: Stage
    steps: list[Step]


@dataclass(frozen=True, slots=True)
class Shop:
    """The shop, its machines, and what other benches have measured; `SIZES` says what each is."""

    members: float = 50e6
    products: float = 3e6
    events_per_day: float = 300e6
    peak: float = 3.0
    trained_sessions: float = 10e6
    hours: float = 4.0
    cores: int = 16
    memory_gb: float = 64.0
    network_gbit: float = 10.0
    replication: int = 3
    kept_days: float = 7.0
    worker_cpu_ms: float = 1.6
    state_bytes: float = 210.0
    changelog_bytes: float = 159.0
    recovery_seconds: float = 178.0


SIZES: Final = {
    "members": "Who get a list each day, and whose state workers keep.",
    "products": "That are clicked.",
    "events_per_day": "Of the clickstream.",
    "peak": "Busiest second over the mean.",
    "trained_sessions": "That the daily training learns from: the window of its source.",
    "hours": "In which daily jobs shall be done.",
    "cores": "Of a machine.",
    "memory_gb": "Of a machine.",
    "network_gbit": "Of a machine.",
    "replication": "Of topics.",
    "kept_days": "Of clickstream and recommendations on the brokers.",
    "worker_cpu_ms": "Of an event in a worker: `make bench`.",
    "state_bytes": "Of a visitor on a worker's disk: `python -m bench.recovery`.",
    "changelog_bytes": "Of a visitor on the brokers: the same.",
    "recovery_seconds": "Of a million visitors: the same.",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the plan; the first column says what, the others hold figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Write it as a document has it."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


@dataclass(frozen=True, slots=True)
class _Day:
    """What a shop does: of a day, and of the busiest second."""

    rates: Rates
    shop: Shop

    @property
    def sessions(self) -> float:
        return self.shop.events_per_day / self.rates.events_per_session

    @property
    def events_a_second(self) -> float:
        return self.shop.peak * self.shop.events_per_day / _DAY_SECONDS

    @property
    def workers(self) -> int:
        return _whole(self.events_a_second * self.shop.worker_cpu_ms / 1000 / UTILISATION)

    @property
    def answer_seconds(self) -> float:
        """Processor time of one answer by a release of all products."""
        return self.rates.by_items["infer"].of("each_cpu_us").at(self.shop.products) / 1e6

    @property
    def knn_bytes(self) -> float:
        """What a release has of the sessions that it was trained on."""
        return self.rates.by_records["train"].of("bytes_out").slope * self.shop.trained_sessions

    @property
    def release_bytes(self) -> float:
        return self.rates.by_items["train"].of("bytes_out").at(self.shop.products) + self.knn_bytes

    def held_gb(self, stage: str, releases: int = 1) -> float:
        """Return what the processes of a stage hold, with so many releases of all products."""
        memory = self.rates.by_items[stage].of("peak_bytes")
        return (memory.start + releases * memory.slope * self.shop.products) / _GB


def plan(rates: Rates, shop: Shop) -> list[Section]:
    """Return what is assumed, what was measured, and what it comes to."""
    day = _Day(rates, shop)
    return [_assumed(shop), rates_table(rates), _always(day), _daily(day), _training(day), _limits(day)]


def _assumed(shop: Shop) -> Section:
    rows = tuple((f"--{name.replace('_', '-')}", f"{getattr(shop, name):,.12g}", what) for name, what in SIZES.items())
    return Section("Assumed", ("option", "value", "what"), rows)


def _always(day: _Day) -> Section:
    shop, rate, workers = day.shop, day.events_a_second, day.workers
    visitors = shop.members / workers
    worker_gb = (
        day.held_gb("load in a worker", _RELEASES_OF_A_WORKER)
        + _RELEASES_OF_A_WORKER * day.knn_bytes / _GB
        + (shop.products * CATALOG_BYTES + visitors * OPEN_SESSION_BYTES + PARTITIONS_A_WORKER * PARTITION_BYTES) / _GB
    )
    disk_gb = (2 * visitors * shop.state_bytes + _KEPT_COPIES * day.release_bytes) / _GB
    model_cores = rate * day.answer_seconds / UTILISATION
    click_bytes = _each(day.rates.by_records["sessions"].large, "bytes_in")
    event_bytes = click_bytes + day.rates.list_bytes
    kept_gb = shop.events_per_day * shop.kept_days * event_bytes * shop.replication / _GB
    changelog_gb = shop.members * shop.changelog_bytes * shop.replication / _GB
    return Section(
        f"All the time; {_n(rate)} events/s at the peak",
        ("service", "load", "cores", "processes", "memory of each", "disk of each"),
        (
            (
                "workers",
                f"{_n(rate)} events/s",
                f"{workers:,}",
                f"{workers:,}",
                f"{_n(worker_gb)} GB",
                f"{_n(disk_gb)} GB",
            ),
            (
                "model servers",
                f"{_n(rate)} rows/s of {_n(1000 * day.answer_seconds)} ms",
                _n(model_cores),
                f"{_whole(model_cores / shop.cores):,}",
                f"{_n(day.held_gb('load in a model server', _VERSIONS_SERVED))} GB",
                f"{_n(_KEPT_COPIES * day.release_bytes / _GB)} GB",
            ),
            (
                "Kafka: clicks and lists",
                f"{_n(rate * event_bytes / 1e6)} MB/s in",
                "-",
                f"{PARTITIONS_A_WORKER * workers:,} partitions",
                "-",
                f"{_n(kept_gb)} GB in all",
            ),
            ("Kafka: changelog", f"{_n(shop.members)} states", "-", "-", "-", f"{_n(changelog_gb)} GB in all"),
        ),
    )


def _daily(day: _Day) -> Section:
    shop, rates, release_gb = day.shop, day.rates, day.release_bytes / _GB

    def job(name: str, reads: str, cpu_seconds: float, read_gb: float, written_gb: float) -> tuple[str, ...]:
        hours = cpu_seconds / 3600
        return name, reads, _n(hours), f"{_whole(hours / shop.hours):,}", _n(read_gb), _n(written_gb)

    def by_records(stage: str, n: float) -> tuple[str, str, float, float, float]:
        found = rates.by_records[stage]
        read_gb, written_gb = (_each(found.large, field) * n / _GB for field in ("bytes_in", "bytes_out"))
        return stage, f"{_n(n)} {found.unit}", found.of("cpu_seconds").at(n), read_gb, written_gb

    n_targets = TEST_SHARE * shop.trained_sessions * rates.targets_per_session
    by_target = rates.by_records["evaluate"].of("cpu_seconds").slope
    by_item = rates.by_items["infer"].of("each_cpu_us").slope / 1e6  # both score the catalogue once a row
    target_seconds = by_target + by_item * max(0.0, shop.products - rates.items)
    publish, fetch = (rates.by_items[name].of("cpu_seconds").at(shop.products) for name in _BY_S3)
    _, members, _, read_gb, lists_gb = by_records("infer", shop.members)
    return Section(
        "Daily",
        ("job", "reads", "core hours", f"cores for {_n(shop.hours)} h", "GB in", "GB out"),
        (
            job(*by_records("sessions", shop.events_per_day)),
            job(*by_records("features", day.sessions)),
            job(*by_records("tfrecords", day.sessions)),
            job(*by_records("train", shop.trained_sessions)[:-1], release_gb),
            job("evaluate", f"{_n(n_targets)} targets", n_targets * target_seconds, release_gb, 0.0),
            job("infer", members, shop.members * day.answer_seconds, read_gb, lists_gb),
            job(_BY_S3[0], "one release", publish, 0.0, release_gb),
            job(f"{_BY_S3[1]}, each host", "one release", fetch, release_gb, 0.0),
        ),
    )


def _training(day: _Day) -> Section:
    """Say what steps take on n machines; the whole training is all passes over what is learned from."""
    shop, steps = day.shop, {step.workers: step for step in day.rates.steps}
    several = max(steps)
    cpu_ms = line((1, steps[1].cpu_ms), (several, steps[several].cpu_ms))
    wire_ms = 1000 * 8 * steps[several].bytes_per_step / (shop.network_gbit * 1e9)
    step_ms = {n: cpu_ms.at(n) / (n * shop.cores) + (wire_ms if n > 1 else 0.0) for n in MACHINES}
    n_steps = shop.trained_sessions * day.rates.targets_per_session * passes() / BATCH_TARGETS
    best = recommended(step_ms)
    rows = tuple(
        (
            f"{n}, recommended" if n == best else str(n),
            _n(cpu_ms.at(n)),
            _n(steps[several].bytes_per_step / 1e6) if n > 1 else "0",
            _n(one),
            f"{step_ms[1] / one / n:.2f}",
            _n(n_steps * one / 3_600_000),
            f"{min(1.0, shop.hours * 3_600_000 / one / n_steps):.1%}",
        )
        for n, one in step_ms.items()
    )
    return Section(
        f"Training: {_n(n_steps)} steps for {_n(shop.trained_sessions)} sessions, {_n(passes())} passes",
        (
            "machines",
            "CPU ms a step",
            "MB sent by each",
            "ms a step",
            "efficiency",
            "hours of all steps",
            f"learned in {_n(shop.hours)} h",
        ),
        rows,
    )


def passes() -> float:
    """Return how often a training by the default preset goes through its data, where nothing ends early."""
    epochs = [recipe.training.epochs for recipe in DEFAULT_RECIPES]
    return sum(epochs) * (1 - VALIDATION_SHARE) + max(epochs)


def _limits(day: _Day) -> Section:
    """Say where one process ends; all lines are laid through two measured sizes and drawn on."""
    shop, rates, machine = day.shop, day.rates, day.shop.memory_gb * _GB

    def by_products(stage: str) -> Line:
        return rates.by_items[stage].of("peak_bytes")

    products, sessions = ("product", shop.products), ("session", shop.trained_sessions)
    trained = rates.by_records["train"]
    release = rates.release_memory.of("peak_bytes")
    memory = (
        ("serving.release_max_memory_bytes of a worker", release, DEFAULT_MAX_MEMORY_BYTES, *products),
        ("memory of a worker's release", by_products("load in a worker"), machine, *products),
        ("memory of a model server's release", by_products("load in a model server"), machine, *products),
        ("memory of `infer`, driver and one task", by_products("infer"), machine, *products),
        ("memory of `evaluate`", by_products("evaluate"), machine, *products),
        ("memory of `train`", by_products("train"), machine, *products),
        ("memory of `train`", trained.of("peak_bytes"), machine, *sessions),
        ("index of kNN, mapped by each worker", Line(0.0, trained.of("bytes_out").slope), machine, *sessions),
    )
    answer = rates.by_items["infer"].of("each_cpu_us")
    recovery_seconds = shop.recovery_seconds * shop.members / day.workers / 1e6
    return Section(
        "What breaks first",
        ("limit", "grows by", "bound", "reached at", "this shop"),
        (
            *(
                (
                    name,
                    f"{_n(grown.slope)} B a {unit}",
                    f"{_n(bound / _GB)} GB",
                    f"{_n(grown.reaches(bound))} {unit}s",
                    f"{_n(grown.at(n) / _GB)} GB",
                )
                for name, grown, bound, unit, n in memory
            ),
            (
                "processor time of an answer",
                f"{_n(1000 * answer.slope)} ns a product",
                f"{_n(ANSWER_BUDGET_MS)} ms",
                f"{_n(answer.reaches(1000 * ANSWER_BUDGET_MS))} products",
                f"{_n(1000 * day.answer_seconds)} ms",
            ),
            (
                "recovery of a worker's states from nothing",
                f"{_n(shop.recovery_seconds)} s a million visitors",
                "-",
                "-",
                f"{_n(recovery_seconds)} s",
            ),
        ),
    )


def rates_table(rates: Rates) -> Section:
    """Tell what was measured: what a start costs, what a record or product costs beyond it."""
    rows = []
    for name, stage in (
        *rates.by_records.items(),
        *((f"{name}, by products", one) for name, one in rates.by_items.items()),
    ):
        cpu, memory = stage.of("cpu_seconds"), stage.of("peak_bytes")
        rows.append(
            (
                name,
                f"{_n(stage.large.n)} {stage.unit}",
                _n(stage.large.seconds),
                _n(cpu.start),
                _n(1e6 * cpu.slope),
                _n(1 / cpu.slope) if cpu.slope else "-",
                _n(_each(stage.large, "bytes_in")),
                _n(_each(stage.large, "bytes_out")),
                _n(stage.large.peak_bytes / 1e6),
                _n(memory.slope),
            )
        )
    machine = rates.machine
    before, after = machine.load
    return Section(
        f"Rates; {machine.day}, {machine.cores} cores, load {before:g} to {after:g}",
        (
            "stage",
            "larger size",
            "seconds there",
            "CPU s of a start",
            "CPU us of each",
            "each/s a core",
            "B in",
            "B out",
            "peak MB there",
            "memory B of each",
        ),
        tuple(rows),
    )


def _each(run: Run, field: str) -> float:
    return float(getattr(run, field)) / run.n


def _whole(value: float) -> int:
    """Return as many whole ones as hold it; what floats add is none."""
    return max(1, math.ceil(round(value, 6)))


def _n(value: float) -> str:
    """Write three digits that count, and no fraction of what is large."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "never"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    return f"{rounded:,.{max(0, digits)}f}"
