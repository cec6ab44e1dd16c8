"""A deployment without Spark and TensorFlow, which are stood in for; publishing, reports and rollout are real."""

import hashlib
import json
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from agents.artifact_bus import open_bus
from agents.cli import insession
from agents.daily.loop import DailyLoop
from agents.daily.plan import Planned
from agents.daily.records import DayRecord, StepName
from agents.daily.steps import Clocks, Steps, damage_below
from agents.daily.store import Store, write_json
from agents.reports.check_files import CheckReports
from agents.settings import PipelineSettings, Settings
from schemas.errors import InsessionError
from schemas.ids import ModelVersion
from schemas.rollout import Rollout
from session_model.release.rollout_log import RolloutLog
from tests.builders.check_reports import report_on
from tests.builders.releases import write_release

DAY = date(2026, 1, 31)
EARLIEST = date(2026, 1, 29)
MODEL = "session_gru"


class Killed(BaseException):
    """What SIGKILL is to a test: nobody catches it."""


class Deaths:
    """Kills at the n-th point at which a run touches something; without a number it counts."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.points = 0

    def pass_by(self) -> None:
        """Die here, if it is the point."""
        self.points += 1
        if self.points == self.at:
            raise Killed


class StandInJobs:
    """Runs what takes no Spark and no TensorFlow as it is; of the rest it leaves the files that later steps read.

    wrong: what is raised instead of a command, by its name, until it is taken out. checks: what they say, by name.
    """

    def __init__(self, deaths: Deaths) -> None:
        self.calls: list[list[str]] = []
        self.wrong: dict[str, Exception] = {}
        self.checks: dict[str, bool] = {}
        self.test_sessions = 100
        self.on_call: Callable[[], None] = lambda: None
        self._deaths = deaths

    def __call__(self, arguments: Sequence[str], log: Path) -> None:
        """Run `insession` with these arguments."""
        self.calls.append(list(arguments))
        self.on_call()
        self._deaths.pass_by()
        name = " ".join(arguments[:2]) if arguments[0] == "release" else arguments[0]
        if name in self.wrong:
            raise self.wrong[name]
        with log.open("a") as file:
            file.write(f"{name}\n")
        stand_in: Callable[[Sequence[str]], None] | None = getattr(self, f"_{name.replace(' ', '_')}", None)
        (stand_in or _run)(arguments)
        self._deaths.pass_by()

    def names(self) -> list[str]:
        """Return what was run."""
        return [" ".join(call[:2]) if call[0] == "release" else call[0] for call in self.calls]

    def _sessions(self, arguments: Sequence[str]) -> None:
        read = "".join(path.read_text() for path in sorted(Path(arguments[1]).iterdir()))
        _write_parts(_out(arguments), read, {"sessions": 200, "records": 400})

    def _features(self, arguments: Sequence[str]) -> None:
        _write_parts(_out(arguments), "rows", {"tables": {"daily": {"rows": 2}}})

    def _tfrecords(self, arguments: Sequence[str]) -> None:
        content = b"".join(path.read_bytes() for path in sorted(Path(arguments[1]).glob("part-*")))
        splits = {}
        for split, sessions in {"train": 100, "test": self.test_sessions}.items():
            folder = _out(arguments) / split
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "part-00000.tfrecord").write_bytes(content)
            fact = {"name": "part-00000.tfrecord", "records": 1, "size": 1, "sha256": _sha256(content + split.encode())}
            splits[split] = {"sessions": sessions, "from_ms": None, "until_ms": None, "files": [fact]}
        schema = {"vocabulary_sha256": "v", "vocabulary_items": 1, "splits": splits}
        (_out(arguments) / "schema.json").write_text(json.dumps(schema))

    def _train(self, arguments: Sequence[str]) -> None:
        highest = _out(arguments) / MODEL / ".highest-version"
        version = int(highest.read_text()) + 1
        write_release(_out(arguments), version)
        highest.write_text(str(version))

    def _evaluate(self, arguments: Sequence[str]) -> None:
        for form in ("--html", "--markdown"):
            Path(arguments[arguments.index(form) + 1]).write_text("page")

    def _release_check(self, arguments: Sequence[str]) -> None:
        version = ModelVersion(int(Path(arguments[2]).name))
        against = None
        if "--against" in arguments:
            against = ModelVersion(int(Path(arguments[arguments.index("--against") + 1]).name))
        CheckReports(open_bus(arguments[arguments.index("--out") + 1]), MODEL).write(
            report_on(version, against, **self.checks)
        )
        if not all(self.checks.values()):
            raise InsessionError(f"version {version} fails")


class Times:
    """Clocks that go as they are told; sleeping is what makes time pass."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.seconds = 0.0
        self.on_sleep: Callable[[], None] = lambda: None

    def clocks(self) -> Clocks:
        """Hand them out."""
        return Clocks(lambda: self.now, lambda: self.seconds, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.on_sleep()
        self.seconds += seconds
        self.now += timedelta(seconds=seconds)


class Seen:
    """A view that remembers."""

    def __init__(self) -> None:
        self.steps: list[Planned] = []

    def began(self, step: StepName) -> None:
        """Nothing to remember."""

    def settled(self, step: Planned, seconds: float) -> None:  # noqa: ARG002 - the view's signature
        """Remember it."""
        self.steps.append(step)


class Deployment:
    """A shop with clicks of some days, and its loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.deaths = Deaths()
        self.jobs = StandInJobs(self.deaths)
        self.times = Times(datetime(2026, 2, 1, 3, tzinfo=UTC))
        self.settings = replace(
            Settings(),
            pipeline=PipelineSettings(
                source=str(folder / "logs" / "{day}.jsonl"),
                source_format="jsonl",
                work=folder / "work",
                models=str(folder / "models"),
                history_days=3,
                min_sessions=10,
                keep_days=3,
                keep_runs=2,
                keep_releases=2,
            ),
        )
        self.seen = Seen()
        self.n_answers = 0
        (folder / "logs").mkdir()
        for day in (EARLIEST, date(2026, 1, 30), DAY):
            self.write_day(day)

    def write_day(self, day: date, n_lines: int = 50) -> None:
        """Let the shop have clicks of a day."""
        (self.folder / "logs" / f"{day}.jsonl").write_text(f'{{"day": "{day}"}}\n' * n_lines)

    def set(self, **values: Any) -> None:
        """Change `[pipeline]`."""
        self.settings = replace(self.settings, pipeline=replace(self.settings.pipeline, **values))

    def store(self) -> Store:
        """Open the work folder."""
        work = self.settings.pipeline.work
        return Store(work, write=self._write, damage=damage_below(work))

    def loop(self) -> DailyLoop:
        """Wire it."""
        clocks, store = self.times.clocks(), self.store()
        steps = Steps(self.settings, store, self.jobs, count=lambda _: self.n_answers, clocks=clocks)
        return DailyLoop(self.settings, store, steps, clocks)

    def run(self, day: date = DAY, **options: Any) -> DayRecord:
        """Run a day."""
        self.seen = Seen()
        return self.loop().run(day, self.seen, **options)

    def states(self, day: date = DAY) -> dict[StepName, str]:
        """Return how its steps stand."""
        return {step.name: step.state for step in self.loop().plan(day)}

    def rollout(self) -> Rollout | None:
        """Return what serves."""
        models = self.settings.pipeline.models
        is_there = models.startswith("s3://") or Path(models).is_dir()
        return RolloutLog(open_bus(models), MODEL).in_force() if is_there else None

    def champion(self) -> int | None:
        """Return which release serves."""
        rollout = self.rollout()
        return None if rollout is None else rollout.champion

    def rolled(self, *arguments: str) -> None:
        """Change the rollout as a person, or the guard, would."""
        _run(["release", *arguments, "--models", str(self.folder / "models")])

    def _write(self, path: Path, content: bytes) -> None:
        self.deaths.pass_by()
        write_json(path, content)
        self.deaths.pass_by()


def metrics_at(port: int) -> dict[str, float]:
    """Read the values on the page of the loop's metrics, by name; labels are left out."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


def _run(arguments: Sequence[str]) -> None:
    ended = CliRunner().invoke(insession, list(arguments))
    if ended.exception is not None:
        raise ended.exception


def _out(arguments: Sequence[str]) -> Path:
    return Path(arguments[list(arguments).index("--out") + 1])


def _write_parts(out: Path, content: str, manifest: dict[str, Any]) -> None:
    out.mkdir(exist_ok=True)
    (out / "part-00000.jsonl").write_text(content)
    part = {"name": "part-00000.jsonl", "records": 1, "size": len(content), "sha256": _sha256(content.encode())}
    (out / "_manifest.json").write_text(json.dumps({**manifest, "parts": [part]}))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """Have a shop that was never trained for."""
    return Deployment(tmp_path)


@pytest.fixture
def serving(deployment: Deployment) -> Deployment:
    """Have a champion, by the loop itself, and a day that was not run yet."""
    assert deployment.run(date(2026, 1, 30)).state == "done"
    deployment.jobs.calls.clear()
    return deployment
