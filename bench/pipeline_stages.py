"""The stages of the chain from clickstream to release, each measured in a process of its own at two sizes."""

import gzip
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from agents.shop.catalog import catalog
from agents.shop.settings import ShopSettings
from agents.shop.training_data import write_training_data
from bench.commands import command_line
from bench.process_cost import Cost, held_bytes, measured
from bench.s3_server import s3_server
from bench.scaling import Run
from bench.steps import Step
from schemas import wire
from schemas.events import from_unix_ms
from schemas.ids import ItemId, SessionId
from schemas.records import SessionEvent, SessionSummary
from serving.embedded.options import ServerOptions
from serving.embedded_process import EmbeddedServer
from session_model.networks.settings import TrainingSettings
from session_model.release import memory
from session_model.release.files import ITEM_VECTORS_FOLDER, KNN_FOLDER, PARTS_DIRECTORY, TRAINED_SESSIONS_FILE
from session_model.training.presets import EVEN_AGES, GruRecipe
from session_model.training.recipe_files import write_recipe

SHOP: Final = ShopSettings(n_items=10_000, n_visitors=200_000, sessions_per_hour=10_000)
CLICKS_PER_ITEM: Final = 2
ASKED: Final = 300
"""Sessions that a release of many items is asked about."""
RECIPE: Final = GruRecipe(EVEN_AGES.gru, TrainingSettings(epochs=1, batch_targets=2048, negatives=512))
"""What memory and answers hang on is the default preset's; the steps, few and small, are not."""
_SESSION_VIEWS: Final = 5
_VIEW_MS: Final = 1000
_SPARK: Final = ("--master", "local[2]", "--spark-conf", "spark.sql.shuffle.partitions=8", "--json")
"""Spark's own 200 tasks after each shuffle are for a cluster."""
_VIEWS: Final = "views.txt"
_BUCKET: Final = "bus"
_STEPS: Final = 50

STAGES: Final = 35
"""Of what `told` hears: two chains, two releases, the steps."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The stages at one size, each with the unit of what it reads; the others as in `Rates`."""

    runs: dict[str, tuple[str, Run]]
    events_per_session: float
    targets_per_session: float
    list_bytes: float


@dataclass(frozen=True, slots=True)
class Released:
    """A release of one number of products in use; counted: see `Rates.release_memory`."""

    runs: dict[str, Run]
    counted: Run


class Bench:
    """Runs stages below a folder, whose content it replaces; `told` hears what runs next."""

    def __init__(self, folder: Path, told: Callable[[str], object]) -> None:
        self._folder, self._told = folder, told
        folder.mkdir(parents=True, exist_ok=True)

    def chain(self, n_events: int) -> Chain:
        """Take the first events of the generated shop from the log to lists for all visitors."""
        folder = self._fresh(f"events-{n_events}")
        log, described = folder / "log.jsonl", folder / "catalog.jsonl"
        sessions, features, tfrecords, models, lists = (
            folder / name for name in ("sessions", "features", "tfrecords", "models", "lists")
        )
        self._told(f"a log of {n_events:,} events")
        write_training_data(SHOP, log, n_events)
        described.write_bytes(b"".join(wire.encode(record) + b"\n" for record in catalog(SHOP)))
        runs = dict[str, tuple[str, Run]]()

        cost, made = self._insession("sessions", log, "--format", "jsonl", "--out", sessions, *_SPARK)
        runs["sessions"] = "events", _run(cost, n_events, log, sessions)
        n_sessions = made["sessions"]
        cost, _ = self._insession("features", sessions, "--out", features, *_SPARK)
        runs["features"] = "sessions", _run(cost, n_sessions, sessions, features)
        cost, made = self._insession("tfrecords", sessions, "--out", tfrecords, *_SPARK)
        runs["tfrecords"] = "sessions", _run(cost, n_sessions, sessions, tfrecords)
        learned, tested = (made["splits"][name]["sessions"] for name in ("train", "test"))
        train, test = tfrecords / "train", tfrecords / "test"
        data = ("--format", "tfrecord", "--catalog", described, "--json")
        cost, made = self._insession("train", train, *data, "--out", models, "--preset", "small")
        runs["train"] = "sessions", _run(cost, learned, train, Path(made["directory"]))
        cost, made = self._insession("evaluate", models, test, *data)
        targets = made["targets"]
        runs["evaluate"] = "targets", _run(cost, targets, test)
        asked = ("--release", models, "--catalog", described, "--out", lists)
        cost, made = self._insession("infer", sessions, *asked, *_SPARK)
        runs["infer"] = "visitors", _run(cost, made["visitors"], sessions, lists, made)
        unpacked = sum(len(gzip.decompress(part.read_bytes())) for part in lists.glob("*.gz"))
        return Chain(runs, n_events / n_sessions, targets / tested, unpacked / made["visitors"])

    def release(self, n_items: int) -> Released:
        """Make a release of so many items, and use it."""
        folder = self._fresh(f"items-{n_items}")
        views, asked, recipe, models, lists, on_disk, fetched, from_s3 = (
            folder / name
            for name in (_VIEWS, "asked.jsonl", "recipe.toml", "models", "lists", "bus", "fetched", "from-s3")
        )
        self._told(f"sessions of {n_items:,} products")
        sessions = viewed(n_items)
        views.write_text("".join(f"{' '.join(session)}\n" for session in sessions))
        asked.write_bytes(b"".join(wire.encode(_session_end(*one)) + b"\n" for one in enumerate(sessions[:ASKED])))
        write_recipe(recipe, RECIPE, "the network of the default preset, in few steps")
        runs = dict[str, Run]()

        learned = ("--format", "sequences", "--preset", "small", "--recipe", recipe, "--json")
        cost, made = self._insession("train", views, "--out", models, *learned)
        release = Path(made["directory"])
        runs["train"] = _run(cost, n_items, views, release)
        cost, _ = self._insession("evaluate", models, asked, "--format", "session-ends", "--json")
        runs["evaluate"] = _run(cost, n_items, release)
        cost, made = self._insession("infer", asked, "--release", models, "--out", lists, *_SPARK)
        runs["infer"] = _run(cost, n_items, release, lists, made)
        runs["load in a worker"] = _run(self._insession("release", "verify", release)[0], n_items, release)
        self._told("a model server")
        with EmbeddedServer(ServerOptions(models=models, port=0), log_path=folder / "server.log") as server:
            assert server.pid is not None
            runs["load in a model server"] = Run(n_items, 0.0, 0.0, held_bytes(server.pid), _bytes_of(release))
        with s3_server(_BUCKET):
            s3 = f"s3://{_BUCKET}/{n_items}"
            for name, bus, target in (("a disk", str(on_disk), fetched), ("S3", s3, from_s3)):
                cost, _ = self._insession("release", "publish", release, "--out", bus)
                runs[f"publish to {name}"] = _run(cost, n_items, release)
                cost, _ = self._insession("release", "fetch", bus, target)
                runs[f"fetch from {name}"] = _run(cost, n_items, target, target)
        return Released(runs, Run(n_items, 0.0, 0.0, counted_bytes(release)))

    def steps(self, n_items: int, workers: Sequence[int]) -> list[Step]:
        """Measure steps of the default preset on the sessions that `release` made of so many items."""
        self._told("training steps")
        numbers = [word for one in workers for word in ("--workers", str(one))]
        data = (str(self._folder / f"items-{n_items}" / _VIEWS), "--format", "sequences")
        command = [sys.executable, "-m", "bench.distributed", *data, *numbers, "--steps", str(_STEPS), "--json"]
        _, printed = measured(command, log=self._folder / "log")
        return [Step(**row) for row in json.loads(printed)["rows"]]

    def _fresh(self, name: str) -> Path:
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def _insession(self, *arguments: str | Path) -> tuple[Cost, dict[str, Any]]:
        """Run a command; return its cost, and what it says where it was asked for JSON."""
        self._told(" ".join(word for word in arguments[:2] if isinstance(word, str)))
        cost, printed = measured(command_line(*arguments), log=self._folder / "log")
        return cost, json.loads(printed) if "--json" in arguments else {}


def viewed(n_items: int) -> list[list[ItemId]]:
    """Return sessions that view each of the items `CLICKS_PER_ITEM` times, in random order."""
    rng = np.random.default_rng(n_items)
    items = np.concatenate([rng.permutation(n_items) for _ in range(CLICKS_PER_ITEM)]).tolist()
    names = [ItemId(f"item-{item:07d}") for item in items]
    return [names[first : first + _SESSION_VIEWS] for first in range(0, len(names), _SESSION_VIEWS)]


def _session_end(number: int, items: list[ItemId]) -> SessionSummary:
    began_ms = SHOP.start_ms + number * _VIEW_MS
    times_ms = range(began_ms, began_ms + len(items) * _VIEW_MS, _VIEW_MS)
    return SessionSummary(
        id=f"clickstream-0-{number}-{number:032x}",
        visitor_key=f"{number:032x}",
        session_id=SessionId(f"s{number}"),
        end_reason="inactivity",
        started_at=from_unix_ms(began_ms),
        ended_at=from_unix_ms(times_ms[-1]),
        event_count=len(items),
        events=[SessionEvent("view", time_ms, item) for time_ms, item in zip(times_ms, items, strict=True)],
    )


def counted_bytes(release: Path) -> int:
    """Return what a worker counts against serving.release_max_memory_bytes: of all parts but those that are mapped."""
    parts = release / PARTS_DIRECTORY
    return sum(
        memory._memory_bytes(path)
        for path in parts.rglob("*")
        if path.is_file()
        and path.name != TRAINED_SESSIONS_FILE
        and not (path.suffix == ".npy" and path.parent.name in {KNN_FOLDER, ITEM_VECTORS_FOLDER})
    )


def _run(cost: Cost, n: int, source: Path, target: Path | None = None, told: dict[str, Any] | None = None) -> Run:
    """Add to the cost what was read and written; told: by `infer`, what a visitor takes without any start."""
    written = 0 if target is None else _bytes_of(target)
    each_us = 0.0 if told is None else 1000 * told["cpu_ms_per_visitor"]
    return Run(n, cost.seconds, cost.cpu_seconds, cost.peak_bytes, _bytes_of(source), written, each_us)


def _bytes_of(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
