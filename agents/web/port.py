"""The server behind the web port: a thread, an event loop and limits of its own, so that no visitor stops a click."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from agents.web.connections import Connections
from schemas.errors import InsessionError

MAX_REQUEST_BYTES: Final = 32 << 10
"""Head and body together; a browser's head has a few KB, and no page takes a body."""
ACCEPTED_AT_ONCE: Final = 8
"""asyncio takes so many connections in one turn, and three turns pass until one too many is closed: that many are above
the bound at most, however fast they come."""
_WAITING_IN_KERNEL: Final = 100
_SWEEP_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 5.0


class WebPortError(InsessionError):
    """The address cannot be listened on; the message names it and the setting."""


class WebPort:
    """Serves pages on `host`:`port`; 0 = any free port, for tests.

    add_pages: registers routes; called in the thread that serves them. stream_path: where an answer has no end.
    section: of the settings, whose `web_host` and `web_port` an error names.
    aiohttp has no timeout for a request's head and no bound on connections: both are kept here.
    Each connection has one request, so what it may hold and for how long is known.
    """

    def __init__(
        self,
        host: str,
        port: int,
        add_pages: Callable[[web.Application], None],
        *,
        stream_path: str | None = None,
        section: str = "kafka",
    ) -> None:
        self._host = host
        self._port = port
        self._add_pages = add_pages
        self._stream_path = stream_path
        self._section = section
        self._connections = Connections[asyncio.BaseTransport]()
        self._stop: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Serve until the end; returns the port. Raises WebPortError where it cannot be had."""
        thread, started = self._start()
        try:
            yield await asyncio.wrap_future(started)
        finally:
            self._stop()
            await asyncio.to_thread(thread.join, _STOP_SECONDS)

    @contextmanager
    def running_beside(self) -> Iterator[int]:
        """As `running`, for those who have no event loop."""
        thread, started = self._start()
        try:
            yield started.result()
        finally:
            self._stop()
            thread.join(_STOP_SECONDS)

    def _start(self) -> "tuple[threading.Thread, Future[int]]":
        started = Future[int]()
        thread = threading.Thread(target=self._run, args=(started,), name="web", daemon=True)
        thread.start()
        return thread, started

    def _run(self, started: "Future[int]") -> None:
        try:
            asyncio.run(self._serve(started))
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    async def _serve(self, started: "Future[int]") -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        pages = web.Application(middlewares=[self._noted])
        pages.on_response_prepare.append(_close_afterwards)
        self._add_pages(pages)
        runner = web.AppRunner(pages, access_log=None, lingering_time=0, shutdown_timeout=1)
        await runner.setup()
        try:
            server = await loop.create_server(
                lambda: self._guarded(runner), self._host, self._port, backlog=ACCEPTED_AT_ONCE
            )
        except (OSError, UnicodeError) as error:  # a name that no resolver can be asked for is a UnicodeError
            await runner.cleanup()
            raise WebPortError(
                f"{self._section}.web_host and {self._section}.web_port: {self._host}:{self._port} cannot be listened "
                f"on ({getattr(error, 'strerror', None) or error}): set {self._section}.web_port to a free one, or end "
                "what holds it"
            ) from error
        for listening in server.sockets:
            with listening.dup() as same:  # asyncio's backlog is both numbers: a probe in a crowd must not be sent away
                same.listen(_WAITING_IN_KERNEL)
        self._stop = lambda: _quietly(loop, stopping.set)
        started.set_result(server.sockets[0].getsockname()[1])
        try:
            await self._sweep_until(stopping)
        finally:
            server.close()
            await runner.cleanup()

    async def _sweep_until(self, stopping: asyncio.Event) -> None:
        """Cut what is overdue, until the end."""
        while not stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _SWEEP_SECONDS)
            for transport in self._connections.overdue(time.monotonic()):
                _cut(transport)

    def _guarded(self, runner: web.AppRunner) -> "_Guarded":
        assert runner.server is not None
        return _Guarded(runner.server(), self._connections)

    @web.middleware
    async def _noted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.transport is not None:
            is_stream = request.path == self._stream_path
            self._connections.asked(request.transport, time.monotonic(), is_stream=is_stream)
        return await handler(request)


class _Guarded(asyncio.Protocol):
    """Stands between a connection and aiohttp's handler, and keeps the bounds."""

    def __init__(self, inner: Any, connections: Connections[asyncio.BaseTransport]) -> None:
        self._inner = inner
        self._connections = connections
        self._transport: asyncio.BaseTransport | None = None
        self._received_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._inner.connection_made(transport)
        surplus = self._connections.opened(transport, time.monotonic())
        if surplus is not None:
            self._connections.closed(surplus)
            _cut(surplus)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._connections.closed(self._transport)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received_bytes += len(data)
        if self._received_bytes > MAX_REQUEST_BYTES and self._transport is not None:
            _cut(self._transport)
            return
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()  # type: ignore[no-any-return]

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


async def _close_afterwards(_request: web.Request, response: web.StreamResponse) -> None:
    response.force_close()


def _cut(transport: asyncio.BaseTransport) -> None:
    """End a connection at once: what is left to write to one that takes nothing would be waited for."""
    if isinstance(transport, asyncio.Transport):
        transport.abort()
    else:
        transport.close()


def _quietly(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop has ended already
        loop.call_soon_threadsafe(call)
