"""A worker that answers the generated shop's clicks, an observer, and a Prometheus that watches them."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from agents.daily.exporter import exported
from agents.daily.loop import last_day
from agents.daily.records import DayRecord
from agents.daily.store import Store
from agents.demo.feeder import Backlog, Feeder, embedded_producer
from agents.demo.processes import LOOPBACK
from agents.demo.shapes import as_records
from agents.demo.source import Source
from agents.settings import PipelineSettings, Settings
from schemas import wire
from schemas.events import ClickEvent
from schemas.free_ports import free_port
from schemas.ids import VisitorId
from serving.embedded.options import ServerOptions
from serving.embedded_process import EmbeddedServer
from streams.cluster.topics import Topic
from streams.local.embedded_broker import PARTITIONS, EmbeddedBrokerProcess
from tests.compose.prometheus import Prometheus
from tests.kafka.observer_process import ObserverProcess
from tests.kafka.worker_process import WorkerProcess

SETTINGS: Final = {
    "INSESSION_KAFKA__IS_MOCK_BROKER": "true",
    "INSESSION_KAFKA__SESSION_TIMEOUT": "6",  # a join waits one on the mock broker
    "INSESSION_KAFKA__REBALANCE_TIMEOUT": "6",
    "INSESSION_KAFKA__SEND_TIMEOUT": "5",
}
UNUSABLE: Final = ((b"v1", b"no JSON"), (b"v1", b"{}"), (b"v1", b'{"visitor_id": "v2", "event_type": "view"}'))
"""Keys and values of records that are dead-lettered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is played: a release, the shop's clicks at `speed` times its own clock, the worker's further settings."""

    models: Path
    source: Source
    speed: float
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs, and since when (Unix seconds)."""

    prometheus: Prometheus
    worker: WorkerProcess
    began: float


@contextmanager
def staged(program: str, folder: Path, plan: Plan) -> Iterator[Stage]:
    """Run everything until the end of the block; program: the Prometheus."""
    with ExitStack() as stack:
        broker = stack.enter_context(EmbeddedBrokerProcess())
        _prepare(broker.address, plan.source)
        # The worker starts while TensorFlow loads: it looks for the server until it is there.
        options = ServerOptions(models=plan.models, port=free_port(), poll_seconds=0.5)
        given = {"brokers": broker.address, "serving": f"{LOOPBACK}:{options.port}", "models": str(plan.models)}
        given |= {"partitions": str(PARTITIONS), "replication": "1"}
        worker = WorkerProcess(given, {**SETTINGS, **plan.settings}, folder / "state")
        stack.callback(worker.close)
        observer = ObserverProcess({"brokers": broker.address}, {**SETTINGS, **plan.settings}, folder / "observer")
        stack.callback(observer.close)
        stack.enter_context(EmbeddedServer(options, log_path=folder / "server.log"))
        supply = replace(
            Settings(),
            pipeline=PipelineSettings(models=str(plan.models), work=folder / "pipeline", web_port=free_port()),
        )
        _run_a_day(Store(supply.pipeline.work))
        stack.enter_context(exported(supply))
        targets = {
            "insession": worker.address,
            "insession-pipeline": f"{LOOPBACK}:{supply.pipeline.web_port}",
            "insession-observer": observer.address,
            "tensorflow-serving": f"{LOOPBACK}:{free_port()}",
        }
        prometheus = stack.enter_context(Prometheus(program, folder / "prometheus", targets))
        worker.wait_until_ready()
        observer.wait_until_ready()
        feeder = Feeder(broker.address, Topic.CLICKSTREAM, speed=plan.speed, seconds=math.inf)
        stack.callback(feeder.stop)
        feeder.start(as_records(plan.source.events()), lambda: Backlog(feeder.n_sent, None))
        yield Stage(prometheus, worker, time.time())


def _run_a_day(store: Store) -> None:
    """Leave what a loop with a schedule leaves after a day that came to its end."""
    now = datetime.now(UTC)
    store.write_record(DayRecord(day=last_day(now), state="done", started_at=now, ended_at=now))
    store.write_schedule(now + timedelta(days=1))


def _prepare(brokers: str, source: Source) -> None:
    """Let every topic exist, describe the items, write what cannot be used, and let one shopper buy and leave."""
    producer = embedded_producer(brokers)
    for topic in Topic:
        producer.list_topics(topic, timeout=10)
    for item in source.catalog:
        producer.produce(Topic.CATALOG, key=item.item_id.encode(), value=wire.encode(item))
    for key, value in UNUSABLE:
        producer.produce(Topic.CLICKSTREAM, key=key, value=value)
    for event_type in ("view", "view", "purchase", "session_end"):
        click = ClickEvent(
            visitor_id=VisitorId("buyer"),
            event_type=event_type,
            event_time=datetime.now(UTC),
            item_id=None if event_type == "session_end" else source.catalog[0].item_id,
        )
        producer.produce(Topic.CLICKSTREAM, key=b"buyer", value=wire.encode(click))
    odd = {"visitor_id": "odd", "event_time": datetime.now(UTC).isoformat(), "price": "9,50"}
    for name in ("page_view", "search"):  # one is ignored, the other one repaired
        producer.produce(Topic.CLICKSTREAM, key=b"odd", value=json.dumps(odd | {"event_type": name}))
    assert producer.flush(10) == 0
