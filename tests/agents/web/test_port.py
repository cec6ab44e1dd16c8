import asyncio
import http.client
import itertools
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge

from agents.live.access import Access
from agents.live.feed import LiveFeed
from agents.live.pages import STREAM_PATH, LivePages
from agents.web import connections
from agents.web.connections import MAX_CONNECTIONS
from agents.web.metrics_page import METRICS_SECONDS, MetricsPage
from agents.web.pages import ProbePages
from agents.web.port import ACCEPTED_AT_ONCE, MAX_REQUEST_BYTES, WebPort, WebPortError
from agents.web.pulse import Pulse
from streams.catalog import Catalog
from tests.agents.live.builders import decoded, released

HALF_A_HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: "
ATTACK = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (min(2000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
held = []
for _ in range(900):
    held.append(socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30))
    try:
        held[-1].sendall(b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\nX: ")
    except OSError:
        pass
print(len(held), flush=True)
sys.stdin.read()
"""
"""Opens 900 connections that never finish the head, and holds them."""
PATIENCE_SECONDS = 30


class Health:
    """A worker that does well."""

    def alive(self) -> tuple[bool, str]:
        """See `Health`."""
        return True, "progressing"

    def ready(self) -> tuple[bool, str]:
        """See `Health`."""
        return True, "answering"


class Served:
    """A web port as the worker has it, on the test's event loop as the worker's is."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.scrapes = Gauge("scrapes", "", registry=self.registry)
        self.feed = LiveFeed(Catalog())
        health: Any = Health()
        self.pulse = Pulse(health)
        self.port = WebPort("127.0.0.1", 0, self._add_pages, stream_path=STREAM_PATH)
        self.number = 0
        self.held, self.go_on = threading.Event(), threading.Event()

    def _add_pages(self, server: web.Application) -> None:
        ProbePages(self.registry, self.pulse).add_to(server)
        LivePages(self.feed, Access("127.0.0.1", None)).add_to(server)
        server.router.add_get("/hold", self._hold)

    async def _hold(self, _request: web.Request) -> web.Response:
        """Keep the thread of the pages, as a machine without time for it does."""
        self.held.set()
        self.go_on.wait(PATIENCE_SECONDS)
        return web.Response()

    async def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Ask for a page, as a probe does, from outside of the event loop."""
        return await asyncio.to_thread(self.ask_now, path, method)

    def ask_now(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Ask for a page in this thread; the event loop does not move meanwhile."""
        connection = http.client.HTTPConnection("127.0.0.1", self.number, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def half_open(self) -> socket.socket:
        """Open a connection that does not finish the head."""
        connection = socket.create_connection(("127.0.0.1", self.number), timeout=PATIENCE_SECONDS)
        connection.sendall(HALF_A_HEAD)
        return connection


@contextmanager
def few_more_files(count: int) -> Iterator[None]:
    """Let this process open so many more files only."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(number) for number in os.listdir("/dev/fd")}  # noqa: PTH208 - numbers, no paths
    free = (number for number in itertools.count() if number not in used)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, next(itertools.islice(free, count, None))), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def served() -> Any:
    """Serve."""
    served = Served()
    async with served.port.running() as served.number:
        served.pulse.beat()
        yield served


async def test_the_pages_are_there_and_no_others(served: Served) -> None:
    """Nobody is told which worker has what, and nothing takes a body."""
    assert await served.ask("/healthz") == (200, "progressing")
    assert await served.ask("/readyz") == (200, "answering")
    assert (await served.ask("/metrics"))[1].startswith("# HELP scrapes")
    assert (await served.ask("/live"))[0] == 200
    for path in ("/", "/router/", "/stats/", "/graph", "/table/visitors", "/live/../router/"):
        assert (await served.ask(path))[0] == 404
    assert (await served.ask("/metrics", "POST"))[0] == 405


async def test_a_dead_event_loop_is_told_while_it_is_dead(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages are on another thread: they answer while the loop hangs, and say that it does."""
    silent_seconds = 0.0
    monkeypatch.setattr(served.pulse, "_clock", lambda: time.monotonic() + silent_seconds)
    assert served.ask_now("/healthz") == (200, "progressing")
    silent_seconds = 100.0
    assert served.ask_now("/healthz")[0] == 503
    assert served.ask_now("/readyz")[0] == 503
    assert "event loop has not moved" in served.ask_now("/healthz")[1]


async def test_nine_hundred_half_open_connections_stop_neither_clicks_nor_health(served: Served) -> None:
    """A bounded number is held, those that wait longest go, and the event loop of the clicks does not notice.

    The worker may open some more files only, as where the limit is low: all others stay free for Kafka.
    """
    attacker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ATTACK, str(served.number), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert attacker.stdout is not None
    with few_more_files(MAX_CONNECTIONS + 3 * ACCEPTED_AT_ONCE + 4):
        turns = 0
        attacking = asyncio.create_task(attacker.stdout.readline())
        while not attacking.done():
            turns += 1
            await asyncio.sleep(0)
        health = await served.ask("/healthz")
        held = len(served.port._connections)
    await attacker.communicate(b"")
    assert int(await attacking) >= 900 - MAX_CONNECTIONS
    assert (health, held <= MAX_CONNECTIONS) == ((200, "progressing"), True)
    assert turns > 100


async def test_a_crowd_at_once_takes_no_more_files_than_the_bound(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that came while the thread had no time are let in a few at a time."""
    holding = asyncio.create_task(served.ask("/hold"))
    await asyncio.to_thread(served.held.wait, PATIENCE_SECONDS)
    crowd = [served.half_open() for _ in range(100)]
    with few_more_files(MAX_CONNECTIONS + 3 * ACCEPTED_AT_ONCE + 4):
        served.go_on.set()
        await holding
        assert await served.ask("/healthz") == (200, "progressing")
    for one in crowd:
        one.close()
    assert caplog.messages == []


async def test_who_does_not_finish_the_head_is_cut(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the head timeout, without a word."""
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_SECONDS", 0.1)
    with served.half_open() as held:
        assert await asyncio.to_thread(held.recv, 1) == b""


async def test_who_sends_too_much_is_cut(served: Served) -> None:
    """A head or a body without end takes no memory."""

    def pour() -> None:
        with served.half_open() as held:
            for _ in range(1000):
                held.sendall(b"x" * MAX_REQUEST_BYTES)

    with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
        await asyncio.to_thread(pour)


async def test_metrics_are_made_once_a_second_at_most() -> None:
    """However often they are asked for; time is the test's."""
    registry, now = CollectorRegistry(), [0.0]
    gauge = Gauge("g", "", registry=registry)
    pages = MetricsPage(registry, lambda: now[0])
    first = pages.metrics()
    gauge.set(1)
    assert pages.metrics() is first
    now[0] = METRICS_SECONDS
    assert b"g 1.0" in pages.metrics()


async def test_answers_reach_the_live_page_from_the_other_thread(served: Served) -> None:
    """What the worker releases on its loop is written by the web port's."""

    def watch() -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", served.number, timeout=PATIENCE_SECONDS)
        connection.request("GET", STREAM_PATH)
        answer = connection.getresponse()
        lines = b"".join(answer.readline() for _ in range(3))
        connection.close()
        return lines

    watching = asyncio.create_task(asyncio.to_thread(watch))
    while not served.feed.is_watching:
        served.feed.summarise()
        await asyncio.sleep(0)
    served.feed.emitted(released())
    assert decoded(await watching)[0] == "answer"


async def test_a_port_that_is_taken_is_named(served: Served) -> None:
    """With the settings to change."""
    port = WebPort("127.0.0.1", served.number, lambda _: None)
    with pytest.raises(WebPortError, match=rf"kafka\.web_port: 127\.0\.0\.1:{served.number} cannot be listened on"):
        async with port.running():
            pytest.fail("it was taken twice")


async def test_a_name_that_is_none_is_refused() -> None:
    """Without a traceback of the resolver's."""
    with pytest.raises(WebPortError, match="cannot be listened on"):
        async with WebPort("no.such.host.invalid", 1, lambda _: None).running():
            pytest.fail("it listens somewhere")
