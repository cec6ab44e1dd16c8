"""A worker in a simulated process: the real app, consumer, tables, actor and windows over simulated clients."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry

from agents.clicks.actor import SessionActor
from agents.clicks.clocks import WorkerClocks
from agents.clicks.pipeline import Pipeline
from agents.settings import Settings
from agents.worker import root as composition
from schemas.ids import ModelVersion
from schemas.ranking import ModelOutput
from serving.batcher import Question, blended
from serving.chain import Recommender
from serving.errors import ModelUnavailableError
from serving.fakes import FakeCatalog, FakeRelease, fake_output
from serving.metrics import ServingMetrics
from serving.popular import StreamPopularity
from streams.app import InsessionApp, create_app, state_table
from streams.cluster.topics import Topic, TopicSettings
from streams.encodings.settings import RegistrySettings
from streams.metrics import DeliveryMetrics
from streams.settings import StreamSettings
from tests.simulation.broker import Broker, Network
from tests.simulation.disk import Disk
from tests.simulation.faults import DiskState, Faults
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.trace import Trace

PARTITIONS: Final = 3
RESTART_SECONDS: Final = 1.0
LEAVES_AFTER_A_LOSS: Final = 0.2
"""How often a worker that has lost a record is told to stop before it comes again."""


def simulated_settings(folder: Path, *, standbys: int = 0) -> Settings:
    """Set a deployment whose timeouts are short, so that a run is."""
    kafka = StreamSettings(
        datadir=folder,
        standby_replicas=standbys,
        window_span=32,
        commit_interval=timedelta(seconds=0.3),
        send_timeout=timedelta(seconds=4),
        linger=timedelta(milliseconds=2),  # the more is under way, the more can go wrong
        session_timeout=timedelta(seconds=6),
        rebalance_timeout=timedelta(seconds=12),
        stall_timeout=timedelta(seconds=40),
        tick_interval=timedelta(days=1),
    )
    registry = RegistrySettings(patience=timedelta(seconds=20))
    return Settings(kafka=kafka, topics=TopicSettings(partitions=PARTITIONS), registry=registry)


class SlowModel:
    """Answers after a while, at times too late or not at all, so that answers overtake each other."""

    def __init__(self, chance: random.Random, faults: Faults) -> None:
        self._chance = chance
        self._faults = faults

    async def rank(self, question: Question) -> ModelOutput:
        """Answer a row."""
        await asyncio.sleep(self._chance.random() ** 2 * (0.02 + self._faults.slow_model))
        if self._chance.random() < 0.05:
            raise ModelUnavailableError("away")
        (output,) = blended([question], [fake_output(question.row)])
        return output


class OpenGate:
    """Lets every call through."""

    refuses = False


class OneRelease:
    """The release that is always in use."""

    def __init__(self) -> None:
        self.current = FakeRelease()

    async def resolve_again(self, gone: ModelVersion) -> FakeRelease | None:
        """Find no other."""
        del gone
        return None


class Host:
    """A machine: its disk survives its process; a process that ends is started again."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        broker: Broker,
        network: Network,
        faults: Faults,
        chance: random.Random,
        trace: Trace,
    ) -> None:
        self.name = name
        self.faults = faults
        self.chance = chance
        self.broker = broker
        self.network = network
        self.disk = Disk()
        self.process: Process | None = None
        self.is_wanted = False
        self.disk_after_death: DiskState = "kept"
        self.app: InsessionApp | None = None
        self.ends: list[str] = []
        self._settings = settings
        self._trace = trace
        self._stop: asyncio.Event | None = None
        self._started = 0
        self._inputs = {*settings.clickstreams, settings.topics.name(Topic.SESSION_CONTROL)}

    @property
    def _loop(self) -> SimulatedLoop:
        return self.broker.loop

    @property
    def is_running(self) -> bool:
        """Return whether there is a process."""
        return self.process is not None and self.process.is_alive

    @property
    def is_quiet(self) -> bool:
        """Return whether its worker has come through its last rebalance, and has recovered what that gave it."""
        app = self.app
        return app is not None and app.rebalancing_count > 0 and not app.rebalancing and not app.in_recovery

    def start(self) -> None:
        """Start a process, which is started again when it ends by itself."""
        self.is_wanted = True
        self._started += 1
        self._trace.add("start", self.name)
        self.process = Process(f"{self.name}.{self._started}", self)
        self.process.on_death = self._died
        self._stop = asyncio.Event()
        context = self._loop.context_of(self.process.thread("main"))
        self._loop.create_task(self._serve(self._stop), context=context)

    def stop(self) -> None:
        """Send SIGTERM."""
        self.is_wanted = False
        self._trace.add("sigterm", self.name)
        if self.process is not None and self._stop is not None:
            self._loop.call_soon(self._stop.set, context=self._loop.context_of(self.process.thread("main")))

    def kill(self, *, after_callbacks: int = 0) -> None:
        """Send SIGKILL, when so many more callbacks have run."""
        self._trace.add("sigkill", self.name, after_callbacks)
        if self.process is None:
            return
        if after_callbacks:
            self.process.callbacks_to_live = after_callbacks
        else:
            self.process.kill()

    def pause(self, seconds: float) -> None:
        """Send SIGSTOP, and SIGCONT after a while."""
        self._trace.add("pause", self.name, f"{seconds:.2f}")
        if self.process is not None:
            self.process.paused_until = self._loop.time() + seconds

    def ended(self, why: str) -> None:
        """Note why the process ends itself."""
        self.ends.append(why)
        self._trace.add("ended", self.name, why)

    def is_late(self) -> bool:
        """Return whether fetched records take a while to the app."""
        return self.chance.random() < self.faults.late_handover

    def _losing(self, deliver: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        """Lose a record now and then between consumer and actor."""

        async def delivered(message: Any) -> None:
            is_input = message.topic in self._inputs
            if is_input and self.chance.random() < self.faults.dropped_record:
                self._trace.add("dropped", self.name, message.tp, message.offset)
                if "leave" in self.faults.accidents and self.chance.random() < LEAVES_AFTER_A_LOSS:
                    self._loop.call_later(self.chance.random(), self._leave, context=self._loop.outside.copy())
                return
            await deliver(message)

        return delivered

    def _leave(self) -> None:
        if self.faults.accidents:  # it is not calm yet
            self.stop()

    def _died(self) -> None:
        self._trace.add("died", self.name, self.disk_after_death)
        self.app = None
        if self.disk_after_death == "wiped":
            self.disk.wipe()
        elif self.disk_after_death == "older":
            self.disk.lose_latest(self.chance.randint(1, 8))
        self.disk_after_death = "kept"
        if self.is_wanted:
            self._loop.call_later(RESTART_SECONDS, self._start_again, context=self._loop.outside.copy())

    def _start_again(self) -> None:
        if self.is_wanted and not self.is_running:
            self.start()

    async def _serve(self, stop: asyncio.Event) -> None:
        process = self.process
        assert process is not None
        try:
            await self._live(stop)
        except Exception as error:  # noqa: BLE001 - as the interpreter would: a traceback, and the end
            self.ended(f"failed: {error!r}")
        process.kill()

    async def _live(self, stop: asyncio.Event) -> None:
        app = self.app = build(self._settings, self.chance, self.faults)
        consumer = app.consumer
        consumer.callback = self._losing(consumer.callback)
        await app.start()
        waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(app.wait_until_stopped())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            self.ended(f"stopped itself: {app.crash_reason!r}")
        await app.stop()


def build(settings: Settings, chance: random.Random, faults: Faults) -> InsessionApp:
    """Wire a worker as `agents.worker.root` does, without catalog, model server and pages."""
    metrics = _delivery_metrics()
    app = create_app(settings.kafka, settings.topics, metrics)
    app.first_starts = dict.fromkeys(settings.clickstreams, settings.clickstream.first_start)
    windows = composition._windows(app, settings, None)
    clocks = WorkerClocks(metrics)
    pipeline_settings = composition.pipeline_settings(settings, lambda time_ms: clocks.deadline(time_ms, 2.0))
    pipeline = Pipeline(
        pipeline_settings,
        composition.session_rules(settings),
        _recommender(settings, SlowModel(chance, faults)),
        metrics,
    )
    table = state_table(app, settings.kafka, settings.topics.partitions)
    further = tuple(settings.clickstream.sources)
    actor = SessionActor(app, table, settings.topics, pipeline, windows, further, clocks=clocks)
    app.resources = (composition._closing(windows),)
    composition._consume(app, settings, actor)
    composition._write_offsets(app, table)
    table.on_recover(actor.recovered)
    _look_for_lost(app, actor)
    return app


def _look_for_lost(app: InsessionApp, actor: SessionActor) -> None:
    @app.timer(1.0)  # type: ignore[untyped-decorator]
    async def look_for_lost() -> None:
        await actor.refetch_lost(app.loop.time())


@cache
def _delivery_metrics() -> DeliveryMetrics:
    """Count for all workers of all runs together: nobody reads it, and it takes long to make."""
    return DeliveryMetrics(CollectorRegistry())


@cache
def _serving_metrics() -> ServingMetrics:
    return ServingMetrics(CollectorRegistry())


def _recommender(settings: Settings, model: SlowModel) -> Recommender:
    return Recommender(
        model=model,
        gate=OpenGate(),
        releases=OneRelease(),
        popularity=StreamPopularity(half_life_seconds=600.0, max_items=100, max_locations=10),
        catalog=FakeCatalog(),
        settings=settings.serving,
        metrics=_serving_metrics(),
    )


def running(hosts: Sequence[Host]) -> list[Host]:
    """Pick the hosts that have a process."""
    return [host for host in hosts if host.is_running]


__all__: list[Any] = ["PARTITIONS", "Host", "build", "running", "simulated_settings"]
