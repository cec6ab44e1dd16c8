"""The live page on the worker's web port: one document, its script and style, and the stream that feeds it."""

import asyncio
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any, Final, Never

from aiohttp import web

from agents.live.access import COOKIE, HOW_TO_ENTER, Access
from agents.live.feed import LiveFeed, Subscription, TooManyWatchersError
from schemas.secret import Secret

PATH: Final = "/live"
STREAM_PATH: Final = f"{PATH}/events"
WRITE_TIMEOUT_SECONDS: Final = 10.0
"""A page that takes nothing for so long is let go; its browser comes back by itself."""
_FILES: Final = {
    "": ("live.html", "text/html"),
    "/live.js": ("live.js", "text/javascript"),
    "/live.css": ("live.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LivePages:
    """Serves the page to whom `access` lets in; the streams end with the server."""

    def __init__(self, feed: LiveFeed, access: Access) -> None:
        self._feed = feed
        self._access = access
        self._streams: set[asyncio.Task[Any]] = set()

    def add_to(self, server: web.Application) -> None:
        """Register the routes; before the server starts."""
        for path, (name, content_type) in _FILES.items():
            server.router.add_get(PATH + path, self._file(name, content_type))
        server.router.add_get(STREAM_PATH, self._events, allow_head=False)
        server.on_shutdown.append(self._end_streams)

    def _file(self, name: str, content_type: str) -> Handler:
        content = (resources.files("agents.live") / "page" / name).read_bytes()

        async def answer(request: web.Request) -> web.StreamResponse:
            if "token" in request.query and self._access.token is not None:
                self._log_in(self._access.token, request)
            self._access.check(request)
            return web.Response(body=content, content_type=content_type, charset="utf-8", headers=_HEADERS)

        return answer

    def _log_in(self, token: Secret, request: web.Request) -> Never:
        """Trade the token for a cookie, so that it does not stay in the address."""
        if not self._access.opens(request.query["token"]):
            raise web.HTTPForbidden(text=HOW_TO_ENTER)
        answer = web.HTTPSeeOther(PATH, headers=_HEADERS)
        value = self._access.cookie_value(token)
        answer.set_cookie(COOKIE, value, path=PATH, httponly=True, samesite="Lax", secure=request.secure)
        raise answer

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self._access.check(request)
        stream = asyncio.current_task()
        assert stream is not None
        self._streams.add(stream)
        response = web.StreamResponse(headers=_HEADERS | {"Content-Type": "text/event-stream"})
        try:
            with self._feed.subscribed() as subscription:
                await response.prepare(request)
                await _copy(subscription, response)
        except TooManyWatchersError as error:
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from error
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()  # what is left to write would be waited for
        finally:
            self._streams.discard(stream)
        return response

    async def _end_streams(self, _server: web.Application) -> None:
        """Let nobody who looks on hold up the end of the worker."""
        for stream in self._streams:
            stream.cancel()


async def _copy(subscription: Subscription, response: web.StreamResponse) -> Never:
    """Write what comes until the page leaves; raises ConnectionError, or TimeoutError where it takes nothing."""
    while True:
        messages = await subscription.take()
        async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
            await response.write(b"".join(messages))
