import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from agents.live import pages
from agents.live.access import Access
from agents.live.feed import MAX_PENDING, MAX_WATCHERS, LiveFeed
from schemas.secret import Secret
from streams.catalog import Catalog
from tests.agents.live.builders import decoded, released, served

TOKEN = Secret("a-token-that-nobody-guesses")
OPEN = Access("127.0.0.1", None)
GUARDED = Access("0.0.0.0", TOKEN)  # noqa: S104 - whether that is allowed is the question
SHUT = Access("0.0.0.0", None)  # noqa: S104
PATHS = ("/live", "/live/live.js", "/live/live.css", "/live/icon.svg", "/live/events")


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """Make a client that keeps cookies, for an address of digits too."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


@pytest.fixture
def feed() -> LiveFeed:
    """Make a feed."""
    return LiveFeed(Catalog())


async def status(client: aiohttp.ClientSession, url: str, **options: Any) -> tuple[int, str]:
    """Ask; gives the status, and the text where it is a refusal."""
    async with client.get(url, **options) as answer:
        return answer.status, "" if answer.ok else await answer.text()


async def test_the_page_has_no_foreign_parts(client: aiohttp.ClientSession, feed: LiveFeed) -> None:
    """Its policy allows what comes from here, and every part that it names is here."""
    async with served(feed, OPEN) as (address, _):
        async with client.get(f"{address}/live") as answer:
            document = await answer.text()
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert "unsafe" not in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        for path in PATHS[1:4]:
            assert f'"{path}"' in document
            assert (await status(client, address + path))[0] == 200
        assert "http:" not in document
        assert "https:" not in document


async def test_answers_come_as_server_sent_events(client: aiohttp.ClientSession, feed: LiveFeed) -> None:
    """Each as soon as it is released."""
    async with served(feed, OPEN) as (address, _), client.get(f"{address}/live/events") as stream:
        assert stream.content_type == "text/event-stream"
        feed.emitted(released())
        message = await stream.content.readuntil(b"\n\n")
    assert decoded(message)[0] == "answer"


async def test_an_open_stream_does_not_hold_up_the_end(client: aiohttp.ClientSession, feed: LiveFeed) -> None:
    """The server cuts it and ends at once; the page's place is free."""
    async with served(feed, OPEN) as (address, runner), client.get(f"{address}/live/events") as stream:
        async with asyncio.timeout(5):
            await runner.cleanup()
        with pytest.raises(aiohttp.ClientPayloadError):
            await stream.content.read()
    assert not feed.is_watching


async def test_a_page_that_leaves_makes_room(client: aiohttp.ClientSession, feed: LiveFeed) -> None:
    """Its place is free with the next thing there is to tell it."""
    async with served(feed, OPEN) as (address, _):
        async with client.get(f"{address}/live/events"):
            assert feed.is_watching
        async with asyncio.timeout(10):
            while feed.is_watching:
                feed.summarise()
                await asyncio.sleep(0)


async def test_a_page_that_takes_nothing_is_let_go(feed: LiveFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    """When neither its buffers nor its patience-time hold any more, the connection is cut."""
    monkeypatch.setattr(pages, "WRITE_TIMEOUT_SECONDS", 0.2)
    async with served(feed, OPEN) as (address, _):
        port = int(address.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(b"GET /live/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.readuntil(b"H")
        async with asyncio.timeout(20):
            while feed.is_watching:
                for _ in range(MAX_PENDING):
                    feed.emitted(released(item_id="i" * 5000))
                await asyncio.sleep(0)
        writer.close()


async def test_one_page_too_many_is_told_so(client: aiohttp.ClientSession, feed: LiveFeed) -> None:
    """With 503; the browser asks again by itself."""
    async with served(feed, OPEN) as (address, _):
        streams = [await client.get(f"{address}/live/events") for _ in range(MAX_WATCHERS)]
        assert (await status(client, f"{address}/live/events"))[0] == 503
        for stream in streams:
            stream.close()


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_token_only_this_machine_may_look(
    client: aiohttp.ClientSession, feed: LiveFeed, path: str
) -> None:
    """On any other address everything is shut, and says what to set; a foreign name for this one is refused too."""
    async with served(feed, SHUT) as (address, _):
        code, text = await status(client, address + path)
        assert (code, "live.token" in text, "INSESSION_LIVE__TOKEN" in text) == (403, True, True)
    async with served(feed, OPEN) as (address, _):
        code, text = await status(client, address + path, headers={"Host": "evil.example:6066"})
        assert (code, "loopback" in text) == (403, True)


@pytest.mark.parametrize("host", ["localhost:6066", "127.0.0.2", "[::1]:6066"])
async def test_every_loopback_name_is_this_machine(client: aiohttp.ClientSession, feed: LiveFeed, host: str) -> None:
    """Whatever loopback address the worker listens on, nobody else can make a browser send such a name."""
    async with served(feed, OPEN) as (address, _):
        assert (await status(client, f"{address}/live", headers={"Host": host}))[0] == 200


@pytest.mark.parametrize("host", ["127.0.0.1:x", "a b", ""])
async def test_a_name_that_is_none_is_refused(client: aiohttp.ClientSession, feed: LiveFeed, host: str) -> None:
    """And no traceback is logged for it."""
    async with served(feed, OPEN) as (address, _):
        assert (await status(client, f"{address}/live", headers={"Host": host}))[0] in {400, 403}


async def test_a_look_at_the_head_takes_no_place(client: aiohttp.ClientSession, feed: LiveFeed) -> None:
    """A stream has no end, so there is nothing to answer with."""
    async with served(feed, OPEN) as (address, _), client.head(f"{address}/live/events") as answer:
        assert (answer.status, feed.is_watching) == (405, False)


@pytest.mark.parametrize("path", PATHS[:4])
@pytest.mark.parametrize("way", [{}, {"params": {"token": "wrong"}}, {"headers": {"Authorization": "Bearer wrong"}}])
async def test_a_wrong_token_opens_nothing(
    client: aiohttp.ClientSession, feed: LiveFeed, path: str, way: dict[str, Any]
) -> None:
    """Nor does none."""
    async with served(feed, GUARDED) as (address, _):
        code, text = await status(client, address + path, **way)
        assert (code, "needs its token" in text) == (403, True)


async def test_the_token_is_traded_for_a_cookie(client: aiohttp.ClientSession, feed: LiveFeed) -> None:
    """It leaves the address bar; scripts cannot read the cookie, which is not the token, and it opens the stream."""
    async with served(feed, GUARDED) as (address, _):
        async with client.get(f"{address}/live", params={"token": TOKEN.reveal()}) as answer:
            assert (answer.status, answer.url.query_string) == (200, "")
            cookie = answer.history[0].cookies["insession_live"]
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/live")
        assert TOKEN.reveal() not in cookie.value
        assert (await status(client, f"{address}/live/live.js"))[0] == 200
        async with client.get(f"{address}/live/events") as stream:
            assert stream.status == 200


async def test_a_program_sends_the_token_as_a_header(client: aiohttp.ClientSession, feed: LiveFeed) -> None:
    """It needs no cookie."""
    headers = {"Authorization": f"Bearer {TOKEN.reveal()}"}
    async with served(feed, GUARDED) as (address, _), client.get(f"{address}/live/events", headers=headers) as stream:
        assert stream.status == 200
