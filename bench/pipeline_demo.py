"""The daily loop on one machine, from the clicks of a generated shop to releases that serve: `make pipeline-demo`.

Kafka is real (Java 17 and Maven), S3 is moto's, MLflow's registry a SQLite file, Spark runs as local[2]. The release of
the first day becomes champion. While shoppers click and a worker answers them, that of the second day is trained by two
workers, of which one is killed, and then the loop itself; the same command goes on, has the release asked beside the
champion, and promotes it by its checks. On the third day the shop's tracker names items by other ids: the checks refuse
what was learned, and say why.
"""

import json
import os
import signal
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from textwrap import shorten
from typing import Any, Final

import click
import psutil
from msgspec import structs
from rich.console import Console
from rich.table import Table

from agents.artifact_bus import open_bus
from agents.configuration.keys import ENVIRONMENT_PREFIX
from agents.interruption import INTERRUPTED, Interruption
from agents.shop.catalog import catalog
from agents.shop.settings import ShopSettings
from agents.shop.traffic import generate_events
from agents.upkeep.simulation import EVENTS_PER_SESSION, shop_for
from bench.commands import command_line
from bench.s3_server import s3_server
from schemas import wire
from schemas.child_process import ChildProcess
from schemas.errors import InsessionError
from schemas.events import ClickEvent
from schemas.free_ports import free_port
from schemas.ids import ItemId, ModelVersion
from schemas.records import Tier
from streams.cluster.topic_reader import TopicReader
from streams.cluster.topics import Topic, TopicSettings
from streams.local.kafka_node import KafkaNode
from streams.records import OutputRecord
from streams.tools.sender import Sender

BUCKET: Final = "shop-models"
MOST_CHARACTERS: Final = 400
"""Of a reason; the page of the checks has all of it."""
MAX_PAGE_BYTES: Final = 1 << 24
EVENTS_PER_DAY: Final = 9_000
N_ITEMS: Final = 300
CLICKS_PER_SECOND: Final = 5.0
START_SECONDS: Final = 180.0
TRAINING_SECONDS: Final = 900.0
IMPORT_CPU_SECONDS: Final = 5.0
"""Of a worker of the training until it has TensorFlow and the others."""
SETTINGS: Final = """
[kafka]
brokers = "{brokers}"
datadir = "{folder}/worker"

[topics]
partitions = 2
replication = 1

[clickstream]
start = "latest"
freshness_budget = "5s"
pseudonym_secret = "only for this demonstration"

[serving]
address = "{server}"
models_directory = "{folder}/models"
release_poll = "1s"

[pipeline]
source = "kafka://{brokers}/clickstream"
work = "{folder}/work"
models = "s3://{bucket}/releases"
registry = "sqlite:///{folder}/mlflow.db"
catalog = "kafka://{brokers}/catalog"
outcomes = "kafka://{brokers}/recommendation-outcomes"
recommendations = "kafka://{brokers}/recommendations"
history_days = 3
min_sessions = 200
preset = "small"
epochs = 3
workers = 2
master = "local[2]"
spark_conf = ["spark.sql.shuffle.partitions=2", "spark.driver.memory=1g"]
shadow = "15s"
shadow_answers = 20

[checks]
min_targets = 500
min_slice_targets = 2000
max_p99_ratio = 10.0
"""
"""Latency is measured on a machine that is busy with the rest of the demonstration, so its limit is wide."""


Answers = Counter[tuple[Tier | None, ModelVersion | None]]
"""How many, by tier and release."""


@dataclass(frozen=True, slots=True)
class DayRun:
    """How a day went. status: what `insession pipeline status --json` said after it."""

    day: date
    about: str
    exit_code: int
    seconds: float
    status: dict[str, Any]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Demo:
    """Where everything is."""

    folder: Path
    brokers: str
    server: str
    topics: TopicSettings

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.folder / "worker.toml"

    def write_settings(self) -> None:
        """Write it."""
        values = {"brokers": self.brokers, "server": self.server, "folder": self.folder, "bucket": BUCKET}
        self.config.write_text(SETTINGS.format(**values))

    def command(self, name: str, arguments: Sequence[str], log: str | None = None) -> ChildProcess:
        """Start `insession`; log: name of the file that gets what it says, else this terminal does."""
        path = None if log is None else self.folder / log
        return ChildProcess(name, command_line(*arguments), log_path=path)

    def status(self) -> dict[str, Any]:
        """Ask how the loop stands."""
        log = self.folder / "status.json"
        log.unlink(missing_ok=True)
        with self.command("the status", ["pipeline", "status", "--json", "--config", str(self.config)], log.name) as it:
            if it.wait(START_SECONDS):
                it.fail("failed")
        text = log.read_text()
        found: dict[str, Any] = json.loads(text[text.index("{") :])
        return found


def days_of_clicks(newest: date) -> Iterator[tuple[date, ClickEvent]]:
    """Generate four days of the shop; on the last one every item has another id.

    The clicks are the same on whichever day the demonstration runs: only their times are moved.
    """
    settings = shop()
    moved_ms = (newest - timedelta(days=3) - settings.start.date()) // timedelta(milliseconds=1)
    for event in generate_events(settings):
        clicked = structs.replace(event.click, event_time=event.click.event_time_ms + moved_ms)
        day = datetime.fromtimestamp(clicked.event_time_ms / 1000, UTC).date()
        if day > newest:
            return
        yield day, renamed(clicked) if day == newest else clicked


def shop() -> ShopSettings:
    """Return the shop of the days before; its items are those of the shoppers who click later."""
    settings = shop_for(CLICKS_PER_SECOND, 7, N_ITEMS)
    return replace(settings, sessions_per_hour=EVENTS_PER_DAY / 24 / EVENTS_PER_SESSION)


def renamed(event: ClickEvent) -> ClickEvent:
    """Name the item by its variant, as a shop does whose tracker was changed over night."""
    return event if event.item_id is None else structs.replace(event, item_id=ItemId(f"{event.item_id}-v2"))


def write_days(demo: Demo, newest: date) -> Counter[date]:
    """Write the clicks with their own time as the record's, and the catalog; returns the clicks of each day."""
    sender, written = Sender({"bootstrap.servers": demo.brokers}, client_id="pipeline-demo"), Counter[date]()
    for item in catalog(shop(), datetime.now(UTC)):
        sender.send(OutputRecord(demo.topics.name(Topic.CATALOG), item.item_id.encode(), wire.encode(item)))
    for day, event in days_of_clicks(newest):
        record = OutputRecord(demo.topics.name(Topic.CLICKSTREAM), event.visitor_id.encode(), wire.encode(event))
        sender.send(record, time_ms=event.event_time_ms)
        written[day] += 1
    sender.flush()
    return written


def run_day(demo: Demo, day: date, about: str) -> DayRun:
    """Run the loop for a day."""
    click.echo(f"\n{day}: {about}", err=True)
    began = time.monotonic()
    with started(demo, day) as pipeline:
        exit_code = pipeline.wait()
    return DayRun(day, about, exit_code, time.monotonic() - began, demo.status())


def run_killed_day(demo: Demo, day: date, about: str) -> DayRun:
    """Run it, kill a worker of the training, then the loop when the training goes on, and run it again."""
    click.echo(f"\n{day}: {about}", err=True)
    began, notes = time.monotonic(), []
    with started(demo, day) as pipeline:
        lost = training_worker(pipeline)
        lost.send_signal(signal.SIGKILL)
        notes.append(f"kill -9 of training worker 1 (process {lost.pid}) after {time.monotonic() - began:.0f} s")
        other = training_worker(pipeline, after=lost)
        pipeline.kill()
        notes.append(
            f"kill -9 of the loop after {time.monotonic() - began:.0f} s, with training worker 1 (process {other.pid}) "
            "back at work; the same command goes on"
        )
    for note in notes:
        click.echo(note, err=True)
    run = run_day(demo, day, "the same command")
    return replace(run, about=about, seconds=time.monotonic() - began, notes=notes)


def started(demo: Demo, day: date) -> ChildProcess:
    """Start the loop for a day."""
    return demo.command("the pipeline", ["pipeline", "run", "--day", day.isoformat(), "--config", str(demo.config)])


def training_worker(pipeline: ChildProcess, after: psutil.Process | None = None) -> psutil.Process:
    """Wait for the second worker of the training that is at work; after: another one than this."""
    found: list[psutil.Process] = []

    def is_at_work() -> bool:
        for process in psutil.Process(pipeline.pid).children(recursive=True):
            with suppress(psutil.Error):
                is_it = "--index=1" in process.cmdline() and process != after
                if is_it and process.cpu_times().user > IMPORT_CPU_SECONDS:
                    found.append(process)
                    return True
        return False

    pipeline.wait_until(is_at_work, TRAINING_SECONDS)
    return found[0]


@contextmanager
def shoppers(demo: Demo) -> Iterator[None]:
    """Have a model server, a worker and shoppers who click, as the fetcher brings releases from S3."""
    models = str(demo.folder / "models")
    web = free_port()
    with ExitStack() as running:

        def start(name: str, *arguments: str) -> ChildProcess:
            return running.enter_context(demo.command(f"the {name}", arguments, f"{name}.log"))

        start("fetcher", "release", "fetch", f"s3://{BUCKET}/releases", models, "--follow", "--every", "2s")
        served = demo.folder / "models" / "session_gru"
        start("server", "serve", "--models", models, "--port", demo.server.rsplit(":", 1)[1])
        worker = start("worker", "worker", "--config", str(demo.config), "--web-port", str(web))
        worker.wait_until(lambda: served.exists() and _metric(web, "insession_release_version") >= 1, START_SECONDS)
        rate = str(CLICKS_PER_SECOND)
        start("shoppers", "simulate", "--config", str(demo.config), "--rate", rate, "--items", str(N_ITEMS))
        yield


def _metric(port: int, name: str) -> float:
    """Read a gauge of the worker; 0 as long as it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f"{name} "):
                    return float(line.split()[1])
    except OSError:
        pass
    return 0.0


def answers_by_release(demo: Demo) -> Answers:
    """Count what shoppers got, by tier and release."""
    topic, found = demo.topics.name(Topic.RECOMMENDATIONS), Answers()
    with TopicReader({"bootstrap.servers": demo.brokers}) as reader:
        for record in reader.read(topic, reader.bounds(topic)):
            answer = wire.decode_recommendation_set(record.value or b"")
            found[answer.tier, answer.model_version] += 1
    return found


def show(console: Console, runs: Sequence[DayRun], answers: Answers, demo: Demo) -> None:
    """Print steps, seconds, versions, and where the reports are."""
    table = Table("step", *(f"{run.day}" for run in runs), title="what the days took, in seconds")
    names = [step["name"] for step in runs[0].status["steps"]]
    for number, name in enumerate(names):
        cells = []
        for run in runs:
            step = run.status["steps"][number]
            seconds = "" if step["seconds"] is None else f" {step['seconds']:,.0f}"
            cells.append(f"{step['state']}{seconds}")
        table.add_row(name, *cells)
    table.add_row("all", *(f"{run.seconds:,.0f}" for run in runs))
    table.add_row("champion after it", *(_version(run) for run in runs))
    console.print(table)
    for run in runs:
        reason = shorten(run.status["reason"], MOST_CHARACTERS)
        for line in (f"{run.day}: {run.about}", *run.notes, reason, *_pages(run, demo)):
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    told = ", ".join(
        f"{count:,} {'without a list' if tier is None else f'by {tier}'}{'' if version is None else f' of {version}'}"
        for (tier, version), count in sorted(answers.items(), key=str)
    )
    console.print(f"answers to the shoppers meanwhile: {told}", highlight=False, soft_wrap=True)


def _version(run: DayRun) -> str:
    champion = run.status["champion"]
    return "none" if champion is None else f"version {champion['version']}"


def _pages(run: DayRun, demo: Demo) -> Iterator[str]:
    """Say where the reports of a day are; those on S3 are copied, since its server goes with the demonstration."""
    for step in run.status["steps"]:
        page = step["outputs"].get("page")
        if page is None:
            continue
        if page.startswith("s3://"):
            page = _copied(page, demo)
        yield f"{step['name']}: {demo.folder / 'work' / page if step['name'] == 'evaluate' else page}"


def _copied(page: str, demo: Demo) -> str:
    folder, _, name = page.rpartition("/")
    path = demo.folder / f"checks-{name}"
    path.write_bytes(open_bus(folder).read(name, MAX_PAGE_BYTES) or b"")
    return str(path)


def expected(runs: Sequence[DayRun], answers: Answers) -> list[str]:
    """Return what did not go as the demonstration says it does."""
    champions = [_version(run) for run in runs]
    by_model = {version for tier, version in answers if tier == "model"}
    wrong = {
        "the first day has no champion": champions[0] == "version 1",
        "the second day's release was not promoted": champions[1] == "version 2",
        "the third day was not refused": runs[2].exit_code == 1 and champions[2] == "version 2",
        "no check failed on the third day": bool(runs[2].status["checks_failed"]),
        "shoppers were not answered by both releases": by_model >= {1, 2},
    }
    return [what for what, is_so in wrong.items() if not is_so]


def demonstrate(folder: Path, today: date) -> bool:
    """Run it all; returns whether it went as it should."""
    console = Console()
    with ExitStack() as stack:
        stack.enter_context(s3_server(BUCKET))
        for name in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
            del os.environ[name]  # the settings of this shop are those of its file
        node = stack.enter_context(KafkaNode())
        topics = TopicSettings(partitions=2, replication=1)
        demo = Demo(folder, node.address, f"127.0.0.1:{free_port()}", topics)
        demo.write_settings()
        with demo.command("the topics", ["topics", "create", "--config", str(demo.config)], "topics.log") as made:
            if made.wait(START_SECONDS):
                made.fail("ended")
        days = [today - timedelta(days=back) for back in (4, 3, 2, 1)]
        written = write_days(demo, days[-1])
        console.print(f"clicks of {len(days)} days on Kafka at {demo.brokers}: {sum(written.values()):,}")
        runs = [run_day(demo, days[1], "the first release")]
        with shoppers(demo):
            about = "shoppers click; a worker of the training is killed, then the loop itself"
            runs.append(run_killed_day(demo, days[2], about))
            runs.append(run_day(demo, days[3], "a broken day: the tracker names items by other ids"))
        answers = answers_by_release(demo)
        show(console, runs, answers, demo)
    wrong = expected(runs, answers)
    for what in wrong:
        console.print(f"not as it should be: {what}", style="red")
    return not wrong


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="For all that is made, with logs and reports; it must be empty.  [default: a new one]",
)
def main(folder: Path | None) -> None:
    """Show the daily loop: a first champion, a promotion by checks while shoppers click, a broken day refused.

    Exit code 1 where it does not go so.
    """
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty")
    folder = Path(tempfile.mkdtemp(prefix="pipeline-demo-")) if folder is None else folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with Interruption():
        try:
            is_right = demonstrate(folder, datetime.now(UTC).date())
        except KeyboardInterrupt:
            click.echo(f"insession: interrupted; what was made is in {folder}", err=True)
            sys.exit(INTERRUPTED)
        except InsessionError as error:
            click.echo(f"insession: {error}; logs are in {folder}", err=True)
            sys.exit(1)
    click.echo(f"{time.monotonic() - began:,.0f} s; all that was made is in {folder}")
    sys.exit(not is_right)


if __name__ == "__main__":
    main()
