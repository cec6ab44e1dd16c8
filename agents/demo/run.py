"""One run of the demo, from the first process to the last line."""

import fcntl
import math
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from agents.demo.feeder import Feeder, embedded_producer
from agents.demo.hit_rate import PopularItems
from agents.demo.merchant import Merchant
from agents.demo.processes import DemoObserver, DemoWorker, Service, WorkerPlace
from agents.demo.reader import SNAPSHOT_SECONDS, Reader
from agents.demo.scoreboard import Report, Scoreboard
from agents.demo.screen import screen_for
from agents.demo.shapes import Shape, as_records
from agents.demo.source import LogOptions, ShopOptions, Source, log_source, shop_source
from agents.demo.training import model_for, require_model_extra
from agents.doctor.mapping_proposal import propose
from agents.interruption import Interruption
from schemas import wire
from schemas.errors import InsessionError
from schemas.ids import ItemId
from schemas.servable import DEFAULT_MODEL_NAME
from schemas.state import InputPosition
from serving.embedded.options import ServerOptions
from serving.embedded_process import EmbeddedServer
from session_model.release.copies import load_release
from session_model.release.files import newest_release
from session_model.release.release import Release
from streams.cluster.topics import Topic
from streams.local.embedded_broker import EmbeddedBrokerProcess
from streams.records import InputRecord

SAMPLED_RECORDS: Final = 500
"""What the doctor looks at where another's records are fed."""
LAST_ANSWERS_SECONDS: Final = 15.0
"""How long to wait for the records of what was fed; an input without one after that is lost."""
LAST_ANSWERS_AFTER_INTERRUPT_SECONDS: Final = 1.0
_BROKER_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What to feed and how. seconds and speed may be infinite: to the end of the log, as fast as answers come.

    shape: whose records are fed; None = our own.
    run_dir: everything that is written lies below it. models: None = train where there is no model yet.
    """

    source: ShopOptions | LogOptions
    speed: float
    seconds: float
    run_dir: Path
    models: Path | None = None
    shape: Shape | None = None


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What `--json` says, but for `titles`: the counts, and what they are counts of.

    held_back_seconds: how long events were due, but held back until earlier ones were answered.
    """

    fed: str
    trained_on: str
    model_version: int
    was_interrupted: bool
    held_back_seconds: float
    recommendations: str
    report: Report
    titles: Mapping[ItemId, str]

    def encoded(self) -> bytes:
        """Spell it as indented JSON, the counts at the top level."""
        fields = msgspec.to_builtins(self)
        counts = fields.pop("report")
        del fields["titles"]
        return msgspec.json.format(msgspec.json.encode(counts | fields), indent=2) + b"\n"


@dataclass(frozen=True, slots=True)
class _Stage:
    """The running parts."""

    worker: DemoWorker
    observer: Service
    feeder: Feeder
    merchant: Merchant
    reader: Reader


def run_demo(options: DemoOptions, console: Console, interruption: Interruption) -> DemoReport:
    """Set everything up, feed until the end or an interruption, tear everything down.

    KeyboardInterrupt leaves it where the interruption came before the first event.
    Raises InsessionError where a part does not start or ends by itself.
    """
    require_model_extra()
    with _own_folder(options.run_dir):
        source = _source(options)
        written = f", as {options.shape} writes them" if options.shape else ""
        console.print(f"feeding {source.description}{written}", highlight=False, markup=False, soft_wrap=True)
        models, release = _release(options, source, console)
        trained_on = _trained_on(options, source)
        model = f"model version {release.version} in {models}, trained on {trained_on}"
        console.print(model, highlight=False, markup=False, soft_wrap=True)
        recommendations = options.run_dir / "recommendations.jsonl"
        with _stage(options, source, (models, release), console) as stage:
            console.print(f"watch it live: {stage.worker.live_page}", highlight=False, markup=False, soft_wrap=True)
            report = _perform(stage, source, options.shape, console, interruption)
            held_back_seconds = stage.feeder.held_back_seconds
    return DemoReport(
        fed=source.description,
        trained_on=trained_on,
        model_version=release.version,
        was_interrupted=interruption.came,
        held_back_seconds=held_back_seconds,
        recommendations=str(recommendations),
        report=report,
        titles=_titles(source),
    )


def _source(options: DemoOptions) -> Source:
    with_training = options.models is None
    if isinstance(options.source, LogOptions):
        return log_source(options.source, with_training=with_training)
    return shop_source(options.source, with_training=with_training, is_timed=math.isfinite(options.speed))


def _release(options: DemoOptions, source: Source, console: Console) -> tuple[Path, Release]:
    if options.models is not None:
        return options.models, load_release(newest_release(options.models / DEFAULT_MODEL_NAME))
    assert source.training is not None
    return model_for(source.training, options.run_dir, console)


def _trained_on(options: DemoOptions, source: Source) -> str:
    return f"what {options.models} was made from" if source.training is None else source.training.description


@contextmanager
def _own_folder(run_dir: Path) -> Iterator[None]:
    """Hold the run folder: two demos would overwrite each other's files."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock = (run_dir / ".lock").open("w")
    except OSError as error:
        raise InsessionError(f"run folder {run_dir}: {error.strerror}; choose another with --run-dir") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InsessionError(
                f"another demo runs in {run_dir}; wait for it, or choose another folder with --run-dir"
            ) from None
        yield


@contextmanager
def _stage(options: DemoOptions, source: Source, model: tuple[Path, Release], console: Console) -> Iterator[_Stage]:
    """Start broker, observer, server and worker, in that order; at the end the worker goes first."""
    models, release = model
    logs = options.run_dir / "logs"
    logs.mkdir(exist_ok=True)
    with ExitStack() as stack:
        datadir = Path(tempfile.mkdtemp(prefix="state-", dir=options.run_dir))
        stack.callback(shutil.rmtree, datadir, ignore_errors=True)
        with console.status("starting broker, observer, model server and worker"):
            broker = stack.enter_context(EmbeddedBrokerProcess())
            _prepare_topics(broker.address, source)
            observer = stack.enter_context(DemoObserver(broker.address, logs / "observer.log"))
            server = stack.enter_context(
                EmbeddedServer(ServerOptions(models=models, port=0), log_path=logs / "server.log")
            )
            place = WorkerPlace(
                brokers=broker.address,
                serving=server.address,
                models=models,
                datadir=datadir,
                log_path=logs / "worker.log",
                settings_file=_mapping(options, source, console),
            )
            worker = stack.enter_context(DemoWorker(place))
            observer.wait_until_ready()
        feeder = Feeder(broker.address, Topic.CLICKSTREAM, speed=options.speed, seconds=options.seconds)
        board = Scoreboard(_popular(source, release), source.scored_from_ms)
        reader = Reader(broker.address, board, feeder.delivered, options.run_dir / "recommendations.jsonl")
        merchant = Merchant(broker.address, source.changes(), source.rule, options.seconds / 2)
        yield _Stage(worker, observer, feeder, merchant, reader)


def _mapping(options: DemoOptions, source: Source, console: Console) -> Path | None:
    """Let the doctor propose the mapping from a sample of what will be fed, as a shop does; None = our own records."""
    if options.shape is None:
        return None
    fed = islice(as_records(source.events(), options.shape), SAMPLED_RECORDS)
    sample = [
        InputRecord(InputPosition(Topic.CLICKSTREAM, 0, offset), record.key, record.value, record.due_ms)
        for offset, record in enumerate(fed)
    ]
    proposal = propose(sample)
    path = options.run_dir / "mapping.toml"
    path.write_text(proposal.toml())
    proposed = f"the doctor proposes format = {proposal.mapping.format!r} from {len(sample)} records: {path}"
    console.print(proposed, highlight=False, markup=False, soft_wrap=True)
    return path


def _perform(
    stage: _Stage, source: Source, shape: Shape | None, console: Console, interruption: Interruption
) -> Report:
    """Feed, show, and wait for the last answers."""
    with interruption.deferred(), screen_for(console, _titles(source)) as screen:
        stage.reader.start()
        stage.feeder.start(as_records(source.events(), shape), lambda: stage.reader.backlog)
        try:
            until = math.inf
            while stage.reader.backlog.n_recorded < stage.feeder.n_sent or not stage.feeder.is_done:
                stage.worker.check()
                stage.observer.check()
                stage.reader.check()
                if interruption.came:
                    stage.feeder.stop()
                    until = min(until, time.monotonic() + LAST_ANSWERS_AFTER_INTERRUPT_SECONDS)
                elif stage.feeder.is_done:
                    until = min(until, time.monotonic() + LAST_ANSWERS_SECONDS)
                if time.monotonic() > until:
                    break
                if stage.feeder.clock is not None and not stage.feeder.is_done:
                    for line in stage.merchant.act(stage.feeder.clock, time.time_ns() // 1_000_000):
                        console.print(line, highlight=False, markup=False, soft_wrap=True)
                screen.show(stage.reader.latest)
                time.sleep(SNAPSHOT_SECONDS)
        finally:
            stage.feeder.stop()
            report = stage.reader.stop()
    return report


def _titles(source: Source) -> dict[ItemId, str]:
    return {item.item_id: item.title or item.item_id for item in source.catalog}


def _prepare_topics(brokers: str, source: Source) -> None:
    """Let every topic exist before anyone reads it, describe the shop's items, and bring what was counted before."""
    producer = embedded_producer(brokers)
    for topic in Topic:
        producer.list_topics(topic, timeout=_BROKER_SECONDS)
    for item in source.catalog:
        producer.produce(Topic.CATALOG, key=item.item_id.encode(), value=wire.encode(item))
    for record in source.history():
        producer.produce(Topic.RECOMMENDATIONS, value=wire.encode(record), partition=0)  # in their order
        producer.poll(0)
    if producer.flush(_BROKER_SECONDS):
        raise InsessionError("the embedded broker does not acknowledge the catalog; run the demo again")


def _popular(source: Source, release: Release) -> PopularItems:
    """Let the popularity baseline know the training data, except where the stream brings them anyway."""
    if source.training is not None and source.training.is_fed_too:
        return PopularItems({})
    counts = release.parts.popularity.counts[1:].tolist()
    return PopularItems(dict(zip(release.parts.vocabulary.item_ids, counts, strict=True)))
