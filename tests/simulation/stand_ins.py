"""Puts the simulated clients, disk and threads into the places of the real ones, in this process, for good."""

import asyncio
import gc
import io
import logging
import os
import random
import secrets
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from types import SimpleNamespace
from typing import Any, NoReturn

import aiokafka
import structlog
from faust.stores import rocksdb
from faust.types import AppT
from mode.signals import BaseSignal
from mode.threads import ServiceThread

from streams.app import InsessionApp
from streams.delivery import producer
from streams.delivery.committed_reads import CommittedReads
from streams.delivery.endings import explained
from streams.state import fenced_store
from tests.simulation.consumer_client import ConsumerClient
from tests.simulation.disk import Database, WriteBatch
from tests.simulation.loop import ProcessEndedError, current_thread, is_simulated, simulated_loop
from tests.simulation.producer_client import ProducerClient


class InLoopThread:
    """A service's thread as one of the simulated loop; see `mode.threads.WorkerThread`."""

    def __init__(self, service: ServiceThread) -> None:
        self._service = service

    def start(self) -> None:
        """Serve, beside the threads that are there."""
        loop = simulated_loop()
        thread = current_thread().process.thread("kafka")
        loop.create_task(self._service._serve(), context=loop.context_of(thread))

    def stop(self) -> None:
        """Leave it to the service, which has stopped."""


class OneLoop(asyncio.DefaultEventLoopPolicy):
    """Gives threads the simulated loop for their own."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """Return the running one."""
        return asyncio.get_running_loop()


async def _nothing(_service: ServiceThread) -> None:
    """Replace the sweep of a thread's own loop: it would cancel all tasks of the world."""


def _open(_options: Any, path: Any, **_more: Any) -> Database:
    database: Database = current_thread().process.owner.disk.open(path)
    return database


def _abort(_app: InsessionApp, error: BaseException) -> NoReturn:
    _end_process(f"aborted: {explained(error)}")


def _exit(code: int, exit_for_real: Callable[[int], NoReturn] = os._exit) -> NoReturn:
    if not is_simulated():
        exit_for_real(code)
    _end_process(f"exit {code}")


def _end_process(why: str) -> NoReturn:
    process = current_thread().process
    if process.is_alive:  # the services of a process that has just ended may see their tasks end, and tell of it again
        process.owner.ended(why)
        process.kill()
    raise ProcessEndedError(why)


def forget_apps() -> None:
    """Let go of the apps of a run: Faust keeps their signals' receivers for as long as the process lives."""
    for signal in vars(AppT).values():
        if isinstance(signal, BaseSignal):
            signal._filter_receivers.clear()


@contextmanager
def silence() -> Iterator[None]:
    """Keep back what is printed of processes that were killed: the collector closes their coroutines."""
    before = sys.unraisablehook
    sys.unraisablehook = lambda _unraisable: None
    try:
        with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.unraisablehook = before


def _drop(*_event: Any) -> NoReturn:
    raise structlog.DropEvent


def install(*, has_thread: bool) -> None:
    """Replace what would reach outside; has_thread: give the consumer a thread, too, as Faust means it."""
    aiokafka.AIOKafkaConsumer = ConsumerClient
    producer.Producer = ProducerClient  # type: ignore[misc,assignment]
    rocksdb.RocksDBOptions.open = _open
    rocksdb.rocksdict = SimpleNamespace(WriteBatch=WriteBatch)
    fenced_store.WriteBatch = WriteBatch  # type: ignore[misc]
    secrets.token_bytes = random.randbytes
    rocksdb.gc = SimpleNamespace(collect=lambda: None)  # closes real databases, and takes a sixth of the time
    if has_thread:
        for name in ("__init__", "call_thread", "_gather_remaining_tasks", "_keepalive2"):
            delattr(CommittedReads, name)
    ServiceThread.Worker = InLoopThread
    ServiceThread._gather_remaining_tasks = _nothing
    asyncio.set_event_loop_policy(OneLoop())
    InsessionApp.abort = _abort  # type: ignore[method-assign]
    os._exit = _exit
    logging.disable(logging.CRITICAL)
    structlog.configure(processors=[_drop], wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    gc.collect()
    gc.freeze()
