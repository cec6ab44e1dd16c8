"""The Faust app: its settings, the strict transport and table, and how it ends when it must not go on."""

import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, NoReturn

import faust
import structlog
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException
from faust.app.base import BootStrategy
from faust.types import TP
from mode import CrashingSupervisor

from schemas.errors import InsessionError
from schemas.secret import masked
from streams.cluster.topics import VISITORS, TopicSettings, app_id
from streams.credentials import broker_credentials
from streams.delivery.endings import explained
from streams.delivery.first_start import FirstStart
from streams.delivery.lease import Lease, boot_seconds
from streams.delivery.membership import member_lost
from streams.delivery.producer import SendTimeoutError, record_producer_config
from streams.delivery.start_guard import Progress, StalledError, StartGuard, client_error, progress_of
from streams.delivery.strict import StrictTransport
from streams.delivery.window import DeliveryError
from streams.local.mock_transport import MockTransport
from streams.metrics import DeliveryMetrics
from streams.records import Delivery, OutputRecord
from streams.settings import StreamSettings
from streams.state.table import StateTable

log = structlog.get_logger(__name__)


_UNANSWERED = (DeliveryError, SendTimeoutError, StalledError, KafkaError, KafkaException)


_ENDING = threading.RLock()
"""Held by the thread that ends the process: the loop's and the watcher's may both have found out why."""


EXIT_ABORTED = 1


class _WithoutWeb(BootStrategy):  # type: ignore[misc]
    """Faust's web server stays off: it shares the event loop with the clicks, and tells who works on what."""

    enable_web = False


class InsessionApp(faust.App):  # type: ignore[misc]
    """A Faust app with strict delivery.

    delivery_metrics: the consumer counts into it.
    transport_class: how the brokers are reached; the embedded one needs its own.
    first_starts: by topic, where a partition that was never committed begins; others at their beginning.
    resources: entered before the app subscribes, left after the consumer has stopped.
    stall_timeout_seconds: see `StreamSettings`.
    commit_note: metadata of every commit; see `changelog_identity`.
    producer_config: returns librdkafka's settings of the producer.
    lease: asked for before every write and send; None = nobody could take the partitions.
    """

    delivery_metrics: DeliveryMetrics
    producer_config: Callable[[], Mapping[str, Any]]
    lease: Lease | None = None
    BootStrategy = _WithoutWeb
    transport_class: type[StrictTransport] = StrictTransport
    first_starts: Mapping[str, FirstStart] = MappingProxyType({})
    resources: Sequence[AbstractAsyncContextManager[object]] = ()
    stall_timeout_seconds: float
    commit_note: str = ""
    turns: int = 0
    """Counts what a start does beside Faust: while it grows, it has not stalled."""
    _opened: AsyncExitStack | None = None
    _open_resources = 0

    async def on_start(self) -> None:
        """Open the resources, under guard; the consumer starts after that."""
        guard = StartGuard(
            self._progress, partial(client_error, self), timeout_seconds=self.stall_timeout_seconds, fail=self.abort
        )
        self.add_future(guard.run())
        self._opened = AsyncExitStack()
        for resource in self.resources:
            await self._opened.enter_async_context(resource)
            self._open_resources += 1
        await super().on_start()

    async def on_shutdown(self) -> None:
        """Close the resources, if the app has started."""
        await super().on_shutdown()
        if self._opened is not None:
            await self._opened.aclose()

    def require_lease(self) -> None:
        """End the process where another worker may have its partitions; called before every write and send."""
        now_seconds = boot_seconds()
        if self.lease is not None and self.lease.is_over(now_seconds):
            self.delivery_metrics.lease_expired.inc()
            self.abort(self.lease.over(now_seconds))

    def _reason(self, error: BaseException) -> BaseException:
        """Return the pause, where there was one, for what the brokers had no chance to answer in it."""
        now_seconds = boot_seconds()
        if self.lease is None or not isinstance(error, _UNANSWERED) or not self.lease.is_over(now_seconds):
            return error
        self.delivery_metrics.lease_expired.inc()
        return self.lease.over(now_seconds)

    def membership_lost(self) -> None:
        """End the process whose member the group does not know any more, with whatever it had still to send."""
        self.abort(member_lost(self.conf.consumer_group_instance_id, self.conf.broker_session_timeout))

    def claims(self, changelog: TP) -> int:
        """Return how often a changelog partition was claimed, as far as its records say; 0 before ours is sent."""
        return sum(
            table.claims(changelog.partition)
            for table in self.tables.values()
            if table.changelog_topic_name == changelog.topic
        )

    def _progress(self) -> Progress | None:
        if self._open_resources < len(self.resources):
            return Progress("opening what the worker needs", self._open_resources)
        progress = progress_of(self)
        return None if progress is None else replace(progress, position=(progress.position, self.turns))

    def _new_transport(self) -> StrictTransport:
        return self.transport_class(self.conf.broker_consumer, self)

    def _crash(self, reason: BaseException) -> None:
        """End where any of Faust's services fails: it would stop one after another, and may wait for ever in that."""
        self.abort(reason)

    def abort(self, error: BaseException) -> NoReturn:
        """End the process at once, without ack: what is unacknowledged is read again after the restart.

        The last line says what to do; the traceback of what is no InsessionError is in the log.
        """
        error = self._reason(error)
        line = masked(explained(error))
        with _ENDING, ExitStack() as held:
            log.critical("aborted", error=line, exc_info=None if isinstance(error, InsessionError) else error)
            logging.shutdown()  # first: it may tell of lines that were held back
            for handler in logging.root.handlers:  # no other thread logs behind the last line
                handler.acquire()
                held.callback(handler.release)
            sys.stderr.write(f"insession: {line}\n")
            sys.stderr.flush()
            os._exit(EXIT_ABORTED)


def create_app(settings: StreamSettings, topics: TopicSettings, metrics: DeliveryMetrics) -> InsessionApp:
    """Configure Faust; docs/adr/0003 and the settings reference say why each value is what it is."""
    brokers = [f"kafka://{address.strip()}" for address in settings.brokers.split(",")]
    app = InsessionApp(
        app_id(settings, topics),
        broker=brokers,
        broker_credentials=broker_credentials(settings.security),
        broker_client_id=app_id(settings, topics),
        store="rocksdb://",
        datadir=settings.datadir,
        Table=StateTable,
        agent_supervisor=CrashingSupervisor,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.instance_id,
        # A static member that comes back under another URL is given the old one's assignment, and Faust's assignor then
        # fails its assertion and idles for ever; so the URL follows the member, not the web port.
        canonical_url=None if settings.instance_id is None else f"http://{settings.instance_id}",
        processing_guarantee="at_least_once",
        broker_commit_interval=settings.commit_interval.total_seconds(),
        broker_session_timeout=settings.session_timeout.total_seconds(),
        broker_rebalance_timeout=settings.rebalance_timeout.total_seconds(),
        broker_heartbeat_interval=settings.session_timeout.total_seconds() / 6,
        producer_request_timeout=settings.send_timeout.total_seconds(),
        stream_buffer_maxsize=32,
        stream_wait_empty=True,
        table_standby_replicas=settings.standby_replicas,
        topic_partitions=topics.partitions,
        topic_replication_factor=topics.replication,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_host=settings.web_host,
        web_port=settings.web_port,
    )
    app.delivery_metrics = metrics
    app.producer_config = partial(record_producer_config, settings, client_id=app_id(settings, topics))
    if not settings.is_mock_broker:  # which holds one worker: however long that is paused, nobody takes its partitions
        app.lease = Lease(settings.session_timeout.total_seconds())
    app.stall_timeout_seconds = settings.stall_timeout.total_seconds()
    if settings.is_mock_broker:
        app.transport_class = MockTransport
    return app


class KafkaSink:
    """Sends records through the app's producer, which there is when the app has started."""

    def __init__(self, app: InsessionApp) -> None:
        self._app = app

    def send(self, record: OutputRecord) -> Delivery:
        """Hand a record to the producer; its delivery is settled when every in-sync replica has it."""
        delivery: Delivery = self._app.producer.deliver(record)
        return delivery


def raw_topic(app: InsessionApp, *names: str) -> Any:
    """Declare topics of bytes: decoding is ours, so that a bad record is ours to dead-letter."""
    return app.topic(*names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def state_table(app: InsessionApp, settings: StreamSettings, partitions: int) -> StateTable:
    """Declare the table of visitor states: raw bytes in RocksDB, with a changelog."""
    table: Any = app.Table(
        VISITORS,
        key_type=bytes,
        value_type=bytes,
        partitions=partitions,
        options={  # per partition; Faust's own defaults are 2 GiB of cache and 192 MiB of memtables each
            "driver": "rocksdict",
            "block_cache_size": settings.rocksdb_cache_bytes,
            "write_buffer_size": settings.rocksdb_cache_bytes // 2,
        },
    )
    assert isinstance(table, StateTable)
    return table
