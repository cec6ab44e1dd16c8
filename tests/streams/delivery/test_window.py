import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError, UnknownTopicOrPartitionError
from faust.types.tuples import FutureMessage, PendingMessage
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.delivery.window import DeliveryError, InOrderWindow, Windows, Work
from streams.fakes import ListSink
from streams.records import OutputRecord

SPAN = 4
NEVER_SECONDS = 60.0
AT_ONCE_SECONDS = 0.001


async def settle() -> None:
    """Let every task of the window run as far as it can without an answer from outside."""
    for _ in range(20):
        await asyncio.sleep(0)


def record(offset: int, number: int = 0) -> OutputRecord:
    """Make an output record that names the offset which caused it."""
    return OutputRecord("out", None, b"%d-%d" % (offset, number))


class Bench:
    """A window with a sink, answers and changelog futures in the test's hands."""

    def __init__(self, send_timeout_seconds: float = NEVER_SECONDS, span: int = SPAN) -> None:
        self.sink = ListSink()
        self.acknowledged: list[int] = []
        self.failures: list[BaseException] = []
        self.answers: list[asyncio.Future[Sequence[OutputRecord]]] = []
        self.window = InOrderWindow(
            self.sink,
            span=span,
            send_timeout_seconds=send_timeout_seconds,
            fail=self.failures.append,
            name_key=lambda key: f"<{len(key)} bytes>",
        )

    def work(self, offset: int, *written: asyncio.Future[Any]) -> Work:
        """Make an event whose answer is the newest of `answers`."""
        self.answers.append(asyncio.get_running_loop().create_future())
        return Work(offset, self.answers[-1], written, lambda: self.acknowledged.append(offset))

    async def put_answered(self, *offsets: int) -> None:
        """Put events whose answers, of one record each, are there already."""
        for offset in offsets:
            work = self.work(offset)
            self.answers[-1].set_result([record(offset)])
            await self.window.put(work)
        await settle()

    async def is_full_for(self, offset: int) -> bool:
        """Return whether an event has to wait for room."""
        putting = asyncio.ensure_future(self.window.put(self.work(offset)))
        await settle()
        is_waiting = not putting.done()
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)
        return is_waiting

    def assert_failed_once(self, *words: str) -> None:
        """Check that the process would end, by one DeliveryError that holds `words`."""
        (failure,) = self.failures
        assert isinstance(failure, DeliveryError)
        for word in words:
            assert word in str(failure)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Open a window that waits for ever, and close it."""
    bench = Bench()
    yield bench
    await bench.window.close()


@pytest.fixture
async def hasty() -> AsyncIterator[Bench]:
    """Open a window that loses patience at once, and close it."""
    bench = Bench(AT_ONCE_SECONDS)
    yield bench
    await bench.window.close()


def future() -> asyncio.Future[Any]:
    """Make a changelog acknowledgement."""
    return asyncio.get_running_loop().create_future()


async def test_sends_in_offset_order(bench: Bench) -> None:
    """A later event's answer waits for the earlier ones before it is sent."""
    for offset in (7, 8, 9):
        await bench.window.put(bench.work(offset))
    for index in (2, 1):
        bench.answers[index].set_result([record(7 + index)])
        await settle()
    assert bench.sink.records == []
    bench.answers[0].set_result([record(7, 0), record(7, 1)])
    await settle()
    assert bench.sink.records == [record(7, 0), record(7, 1), record(8), record(9)]


async def test_acknowledges_in_offset_order(bench: Bench) -> None:
    """An event whose records are safe is acknowledged only after the earlier ones."""
    await bench.put_answered(7, 8, 9)
    for index in (2, 1):
        bench.sink.acknowledgements[index].set_result(None)
        await settle()
    assert (bench.acknowledged, len(bench.window)) == ([], 3)
    bench.sink.acknowledgements[0].set_result(None)
    await settle()
    assert (bench.acknowledged, len(bench.window)) == ([7, 8, 9], 0)


async def test_sends_without_awaiting_acknowledgements(bench: Bench) -> None:
    """An unacknowledged record does not hold up the sending of the next event."""
    await bench.put_answered(7, 8)
    assert bench.sink.records == [record(7), record(8)]
    assert bench.acknowledged == []


async def test_awaits_every_record_of_an_event(bench: Bench) -> None:
    """An event with an unsafe record or changelog write is not acknowledged."""
    changelog = future()
    await bench.window.put(bench.work(7, changelog))
    bench.answers[0].set_result([record(7, 0), record(7, 1)])
    await settle()
    for unsafe in (bench.sink.acknowledgements[1], changelog, bench.sink.acknowledgements[0]):
        assert bench.acknowledged == []
        unsafe.set_result(None)
        await settle()
    assert bench.acknowledged == [7]


async def test_acknowledges_an_event_without_records(bench: Bench) -> None:
    """An event that causes no record at all is acknowledged."""
    await bench.window.put(bench.work(7))
    bench.answers[0].set_result([])
    await settle()
    assert bench.acknowledged == [7]


@pytest.mark.parametrize(("distance", "is_full"), [(SPAN - 1, False), (SPAN, True), (SPAN + 1, True)])
async def test_back_pressure_is_by_offset_span(bench: Bench, distance: int, *, is_full: bool) -> None:
    """The window takes events less than a span of offsets ahead of the oldest, however few they are."""
    await bench.put_answered(7)
    assert await bench.is_full_for(7 + distance) is is_full


async def test_fullness_is_the_share_of_the_span_in_use(bench: Bench) -> None:
    """An empty window is at 0, one that makes the next event wait at 1."""
    assert bench.window.full_ratio == 0
    await bench.put_answered(7, 8)
    assert bench.window.full_ratio == 2 / SPAN
    await bench.put_answered(7 + SPAN - 1)
    assert bench.window.full_ratio == 1


async def test_room_comes_with_the_oldest_offset(bench: Bench) -> None:
    """A waiting event gets in when the oldest offset left, measured from the next open one and not by a count."""
    await bench.put_answered(0, 3)
    putting = asyncio.ensure_future(bench.window.put(bench.work(6)))
    bench.sink.acknowledgements[1].set_result(None)
    await settle()
    assert not putting.done()
    bench.sink.acknowledgements[0].set_result(None)
    await putting
    assert len(bench.window) == 1


async def test_a_hole_wider_than_the_span_does_not_block(bench: Bench) -> None:
    """An empty window takes any offset."""
    await bench.put_answered(0)
    bench.sink.acknowledge_all()
    await settle()
    await bench.put_answered(1000)
    assert len(bench.window) == 1


async def test_a_failing_answer_ends_the_process(bench: Bench) -> None:
    """An answer that raises, which it must not, ends the process; nothing is acknowledged."""
    await bench.window.put(bench.work(7))
    await bench.put_answered(8)
    bench.answers[0].set_exception(ValueError("no answer"))
    await settle()
    bench.sink.acknowledge_all()
    await settle()
    bench.assert_failed_once("no answer")
    assert bench.acknowledged == []


async def test_a_cancelled_answer_ends_the_process(bench: Bench) -> None:
    """An answer that someone else cancels does not leave the window standing still in silence."""
    await bench.window.put(bench.work(7))
    bench.answers[0].cancel()
    await settle()
    bench.assert_failed_once("CancelledError")
    assert bench.acknowledged == []


async def test_a_refused_send_ends_the_process(bench: Bench) -> None:
    """A sink that raises ends the process; what was sent before is not acknowledged any more."""
    await bench.put_answered(7)
    bench.sink.refusal = OSError("no broker")
    await bench.put_answered(8)
    bench.sink.acknowledge_all()
    await settle()
    bench.assert_failed_once("no broker")
    assert bench.acknowledged == []


async def test_a_failed_acknowledgement_ends_the_process(bench: Bench) -> None:
    """A record that the broker refuses ends the process; later events are neither sent nor acknowledged."""
    await bench.put_answered(7, 8)
    bench.sink.acknowledgements[0].set_exception(OSError("too large"))
    bench.sink.acknowledgements[1].set_result(None)
    await settle()
    await bench.put_answered(9)
    bench.assert_failed_once("offset 7", "too large")
    assert bench.acknowledged == []
    assert bench.sink.records == [record(7), record(8)]


async def test_a_failed_changelog_write_ends_the_process(bench: Bench) -> None:
    """A state update that the broker refuses ends the process although the answer is safe."""
    changelog = future()
    await bench.window.put(bench.work(7, changelog))
    bench.answers[0].set_result([record(7)])
    await settle()
    bench.sink.acknowledge_all()
    changelog.set_exception(OSError("read only"))
    await settle()
    bench.assert_failed_once("offset 7", "read only")
    assert bench.acknowledged == []


async def test_a_refused_record_is_named_without_the_visitors_id(bench: Bench) -> None:
    """Topic, what stands for the key, what the broker said and what to do."""
    await bench.window.put(bench.work(7))
    bench.answers[0].set_result([OutputRecord("answers", b"visitor", b"{}")])
    await settle()
    bench.sink.acknowledgements[0].set_exception(MessageSizeTooLargeError())
    await settle()
    bench.assert_failed_once("answers took no record", "<7 bytes>", "offset 7", "raise max.message.bytes of the topic")
    assert "visitor" not in str(bench.failures[0])


async def test_a_changelog_record_that_is_refused_is_named_too(bench: Bench) -> None:
    """Faust's future of it knows the topic and the key."""
    channel: Any = "visitors-changelog"
    pending = PendingMessage(channel, b"visitor", b"{}", None, None, None, None, None, None)
    changelog = FutureMessage(pending)
    await bench.window.put(bench.work(7, changelog))
    bench.answers[0].set_result([])
    changelog.set_exception(UnknownTopicOrPartitionError())
    await settle()
    bench.assert_failed_once("visitors-changelog took no record", "<7 bytes>", "insession topics check")


async def test_a_cancelled_acknowledgement_ends_the_process(bench: Bench) -> None:
    """A producer that gives up its futures ends the process."""
    await bench.put_answered(7)
    bench.sink.acknowledgements[0].cancel()
    await settle()
    bench.assert_failed_once("CancelledError")
    assert bench.acknowledged == []


@pytest.mark.parametrize("hanging", ["record", "changelog"])
async def test_a_missing_acknowledgement_ends_the_process(hasty: Bench, hanging: str) -> None:
    """A record that is not acknowledged in time ends the process."""
    failed = asyncio.Event()
    hasty.window._fail = lambda error: (hasty.failures.append(error), failed.set())
    await hasty.window.put(hasty.work(7, *([future()] if hanging == "changelog" else [])))
    hasty.answers[0].set_result([record(7)] if hanging == "record" else [])
    await asyncio.wait_for(failed.wait(), NEVER_SECONDS)
    hasty.assert_failed_once("offset 7", f"not acknowledged within {AT_ONCE_SECONDS} s")
    assert hasty.acknowledged == []


async def test_two_failures_end_the_process_once(bench: Bench) -> None:
    """A refused acknowledgement and a failing answer at the same moment give one error."""
    await bench.put_answered(7)
    await bench.window.put(bench.work(8))
    bench.sink.acknowledgements[0].set_exception(OSError("too large"))
    bench.answers[1].set_exception(ValueError("no answer"))
    await settle()
    assert len(bench.failures) == 1
    assert bench.acknowledged == []


async def test_close_acknowledges_nothing_and_leaves_no_task() -> None:
    """Closing stops what is open at every step, without acknowledgement or failure."""
    before = asyncio.all_tasks()
    bench = Bench()

    async def model() -> Sequence[OutputRecord]:
        return await asyncio.get_running_loop().create_future()

    await bench.put_answered(7)
    for offset in (8, 9):
        await bench.window.put(Work(offset, model(), (), lambda: bench.acknowledged.append(-1)))
    await settle()
    await bench.window.close()
    assert asyncio.all_tasks() == before
    assert (bench.acknowledged, bench.failures, len(bench.window)) == ([], [], 3)


async def test_a_cancelled_put_takes_nothing_in(bench: Bench) -> None:
    """An actor that is cancelled at the full window leaves no answer that was never awaited."""

    async def model() -> Sequence[OutputRecord]:
        return []

    await bench.put_answered(0)
    putting = asyncio.ensure_future(bench.window.put(Work(SPAN, model(), (), lambda: None)))
    await settle()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert len(bench.window) == 1


@pytest.mark.parametrize("replayed", [[7], [6], [5, 6, 7]])
async def test_replays_while_open_are_acknowledged_again(bench: Bench, replayed: list[int]) -> None:
    """After a seek back the same window takes lower and equal offsets, in the order in which they come."""
    await bench.put_answered(7)
    await bench.put_answered(*replayed)
    bench.sink.acknowledge_all()
    await settle()
    assert bench.acknowledged == [7, *replayed]
    assert len(bench.window) == 0


async def test_a_far_seek_back_waits_for_what_is_open(bench: Bench) -> None:
    """The span bounds the distance to the oldest open offset in both directions."""
    await bench.put_answered(100)
    assert await bench.is_full_for(50)
    bench.sink.acknowledge_all()
    await settle()
    assert not await bench.is_full_for(50)


async def test_drained_waits_for_what_is_open(bench: Bench) -> None:
    """Draining is over when all that was open before is acknowledged, and not earlier."""
    await bench.window.drained()
    await bench.put_answered(7, 8)
    draining = asyncio.ensure_future(bench.window.drained())
    await settle()
    bench.sink.acknowledgements[0].set_result(None)
    await settle()
    assert not draining.done()
    bench.sink.acknowledgements[1].set_result(None)
    await draining
    assert bench.acknowledged == [7, 8]


async def test_windows_outlive_the_assignment_of_their_partition() -> None:
    """The same partition has the same window each time, other partitions have others; all are counted and closed."""
    benches: list[Bench] = []

    def make_window(topic: str) -> InOrderWindow:
        assert topic == "clicks"
        benches.append(Bench())
        return benches[-1].window

    windows = Windows(make_window)
    first = windows.of("clicks", 0)
    assert windows.of("clicks", 1) is not first
    assert windows.of("clicks", 0) is first
    assert len(benches) == 2
    await benches[0].put_answered(1, 2)
    await benches[1].put_answered(1)
    assert len(windows) == 3
    before = asyncio.all_tasks()
    await windows.close()
    assert asyncio.all_tasks() == before - {task for bench in benches for task in bench.window._tasks}


@settings(max_examples=100)
@given(st.data())
def test_any_interleaving_acknowledges_in_order_each_once(data: st.DataObject) -> None:
    """However answers, broker and changelog interleave, events are acknowledged in order, once, and only when safe."""

    async def scenario() -> None:
        bench = Bench(span=1000)
        steps = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=6), label="steps from offset to offset")
        offsets = [sum(steps[: n + 1]) for n in range(len(steps))]
        counts = [data.draw(st.integers(0, 2), label="records") for _ in offsets]
        changelogs = [future() for _ in offsets]
        for offset, changelog in zip(offsets, changelogs, strict=True):
            await bench.window.put(bench.work(offset, changelog))
        while pending := [
            waiting for waiting in (*bench.answers, *changelogs, *bench.sink.acknowledgements) if not waiting.done()
        ]:
            chosen = data.draw(st.sampled_from(range(len(pending))), label="next to come")
            settled: Any = pending[chosen]
            index = next((n for n, answer in enumerate(bench.answers) if answer is settled), None)
            settled.set_result(None if index is None else [record(offsets[index], n) for n in range(counts[index])])
            await settle()
            done = len(bench.acknowledged)
            assert bench.acknowledged == offsets[:done]
            assert all(changelog.done() for changelog in changelogs[:done])
            assert all(sent.done() for sent in bench.sink.acknowledgements[: sum(counts[:done])])
        assert bench.acknowledged == offsets
        assert bench.sink.records == [
            record(o, n) for o, count in zip(offsets, counts, strict=True) for n in range(count)
        ]
        assert bench.failures == []
        await bench.window.close()

    asyncio.run(scenario())
