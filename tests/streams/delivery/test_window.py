import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from aiokafka.errors import MessageSizeTooLargeError, UnknownTopicOrPartitionError
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.delivery.window import DeliveryError, InOrderWindow, Windows, Work
from streams.fakes import ListSink
from streams.records import Delivery, OutputRecord

SPAN = 4


async def settle() -> None:
    """Let every task of the window run as far as it can without an answer from outside."""
    for _ in range(20):
        await asyncio.sleep(0)


def record(offset: int, number: int = 0) -> OutputRecord:
    """Make an output record that names the offset which caused it."""
    return OutputRecord("out", None, b"%d-%d" % (offset, number))


class Bench:
    """A window with a sink, answers and changelog writes in the test's hands."""

    def __init__(self, span: int = SPAN) -> None:
        self.sink = ListSink()
        self.acknowledged: list[int] = []
        self.failures: list[BaseException] = []
        self.answers: list[asyncio.Future[Sequence[OutputRecord]]] = []
        self.window = InOrderWindow(
            self.sink,
            span=span,
            fail=self.failures.append,
            name_key=lambda key: f"<{len(key)} bytes>",
        )

    def work(self, offset: int, *written: Delivery) -> Work:
        """Make an event whose answer is the newest of `answers`."""
        self.answers.append(asyncio.get_running_loop().create_future())
        return Work(offset, self.answers[-1], written, lambda: self.acknowledged.append(offset))

    async def put(self, work: Work) -> None:
        """Put an event when there is room for it."""
        await self.window.room(work.offset)
        self.window.put(work)

    async def put_answered(self, *offsets: int) -> None:
        """Put events whose answers, of one record each, are there already."""
        for offset in offsets:
            work = self.work(offset)
            self.answers[-1].set_result([record(offset)])
            await self.put(work)
        await settle()

    async def is_full_for(self, offset: int) -> bool:
        """Return whether an event has to wait for room."""
        putting = asyncio.ensure_future(self.window.room(offset))
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
    """Open a window, and close it."""
    bench = Bench()
    yield bench
    await bench.window.close()


def write() -> Delivery:
    """Make a changelog write that is under way."""
    return Delivery("visitors-changelog", b"visitor")


async def test_sends_in_offset_order(bench: Bench) -> None:
    """A later event's answer waits for the earlier ones before it is sent."""
    for offset in (7, 8, 9):
        await bench.put(bench.work(offset))
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
        bench.sink.deliveries[index].settle()
        await settle()
    assert (bench.acknowledged, len(bench.window)) == ([], 3)
    bench.sink.deliveries[0].settle()
    await settle()
    assert (bench.acknowledged, len(bench.window)) == ([7, 8, 9], 0)


async def test_sends_without_awaiting_acknowledgements(bench: Bench) -> None:
    """An unacknowledged record does not hold up the sending of the next event."""
    await bench.put_answered(7, 8)
    assert bench.sink.records == [record(7), record(8)]
    assert bench.acknowledged == []


async def test_awaits_every_record_of_an_event(bench: Bench) -> None:
    """An event with an unsafe record or changelog write is not acknowledged."""
    changelog = write()
    await bench.put(bench.work(7, changelog))
    bench.answers[0].set_result([record(7, 0), record(7, 1)])
    await settle()
    for unsafe in (bench.sink.deliveries[1], changelog, bench.sink.deliveries[0]):
        assert bench.acknowledged == []
        unsafe.settle()
        await settle()
    assert bench.acknowledged == [7]


async def test_acknowledges_an_event_without_records(bench: Bench) -> None:
    """An event that causes no record at all is acknowledged."""
    await bench.put(bench.work(7))
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
    putting = asyncio.ensure_future(bench.put(bench.work(6)))
    bench.sink.deliveries[1].settle()
    await settle()
    assert not putting.done()
    bench.sink.deliveries[0].settle()
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
    await bench.put(bench.work(7))
    await bench.put_answered(8)
    bench.answers[0].set_exception(ValueError("no answer"))
    await settle()
    bench.sink.acknowledge_all()
    await settle()
    bench.assert_failed_once("no answer")
    assert bench.acknowledged == []


async def test_a_cancelled_answer_ends_the_process(bench: Bench) -> None:
    """An answer that someone else cancels does not leave the window standing still in silence."""
    await bench.put(bench.work(7))
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
    bench.sink.deliveries[0].settle(OSError("too large"))
    bench.sink.deliveries[1].settle()
    await settle()
    await bench.put_answered(9)
    bench.assert_failed_once("offset 7", "too large")
    assert bench.acknowledged == []
    assert bench.sink.records == [record(7), record(8)]


async def test_a_failed_changelog_write_ends_the_process(bench: Bench) -> None:
    """A state update that the broker refuses ends the process although the answer is safe."""
    changelog = write()
    await bench.put(bench.work(7, changelog))
    bench.answers[0].set_result([record(7)])
    await settle()
    bench.sink.acknowledge_all()
    changelog.settle(OSError("read only"))
    await settle()
    bench.assert_failed_once("offset 7", "read only")
    assert bench.acknowledged == []


async def test_a_refused_record_is_named_without_the_visitors_id(bench: Bench) -> None:
    """Topic, what stands for the key, what the broker said and what to do."""
    await bench.put(bench.work(7))
    bench.answers[0].set_result([OutputRecord("answers", b"visitor", b"{}")])
    await settle()
    bench.sink.deliveries[0].settle(MessageSizeTooLargeError())
    await settle()
    bench.assert_failed_once("answers took no record", "<7 bytes>", "offset 7", "raise max.message.bytes of the topic")
    assert "visitor" not in str(bench.failures[0])


async def test_a_changelog_record_that_is_refused_is_named_too(bench: Bench) -> None:
    """By its topic and what stands for its key."""
    changelog = write()
    await bench.put(bench.work(7, changelog))
    bench.answers[0].set_result([])
    changelog.settle(UnknownTopicOrPartitionError())
    await settle()
    bench.assert_failed_once("visitors-changelog took no record", "<7 bytes>", "insession topics check")


async def test_two_failures_end_the_process_once(bench: Bench) -> None:
    """A refused acknowledgement and a failing answer at the same moment give one error."""
    await bench.put_answered(7)
    await bench.put(bench.work(8))
    bench.sink.deliveries[0].settle(OSError("too large"))
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
        bench.window.put(Work(offset, model(), (), lambda: bench.acknowledged.append(-1)))
    await settle()
    await bench.window.close()
    assert asyncio.all_tasks() == before
    assert (bench.acknowledged, bench.failures, len(bench.window)) == ([], [], 3)


async def test_a_cancelled_wait_for_room_takes_nothing_in(bench: Bench) -> None:
    """An actor that is cancelled at the full window leaves nothing behind; the others get their room."""
    await bench.put_answered(0)
    cancelled, patient = (asyncio.ensure_future(bench.window.room(SPAN)) for _ in range(2))
    await settle()
    cancelled.cancel()
    bench.sink.acknowledge_all()
    await patient
    assert len(bench.window) == 0


async def test_what_waits_for_nobody_takes_no_task(bench: Bench) -> None:
    """Its answer is there when it is put, and is sent after this turn of the loop."""

    async def answer() -> Sequence[OutputRecord]:
        return [record(7)]

    before = asyncio.all_tasks()
    bench.window.put(Work(7, answer(), (), lambda: bench.acknowledged.append(7)))
    assert asyncio.all_tasks() == before
    assert bench.sink.records == []
    await asyncio.sleep(0)
    assert bench.sink.records == [record(7)]


async def test_an_answer_that_waits_goes_on_where_it_was(bench: Bench) -> None:
    """It has run up to its first wait when it is put; what it waits for may fail, and it waits more than once."""
    steps: list[str] = []
    first, second = (asyncio.get_running_loop().create_future() for _ in range(2))

    async def answer() -> Sequence[OutputRecord]:
        steps.append("asks")
        try:
            await first
        except OSError:
            steps.append("fails")
        steps.append(await second)
        return [record(7)]

    bench.window.put(Work(7, answer(), (), lambda: bench.acknowledged.append(7)))
    assert steps == ["asks"]
    first.set_exception(OSError())
    await settle()
    assert steps == ["asks", "fails"]
    second.set_result("answers")
    await settle()
    assert (steps, bench.sink.records) == (["asks", "fails", "answers"], [record(7)])


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
    bench.sink.deliveries[0].settle()
    await settle()
    assert not draining.done()
    bench.sink.deliveries[1].settle()
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
    await windows.close()
    for bench in benches:
        bench.sink.acknowledge_all()
        assert bench.acknowledged == []


@settings(max_examples=100)
@given(st.data())
def test_any_interleaving_acknowledges_in_order_each_once(data: st.DataObject) -> None:
    """However answers, broker and changelog interleave, events are acknowledged in order, once, and only when safe."""

    async def scenario() -> None:
        bench = Bench(span=1000)
        steps = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=6), label="steps from offset to offset")
        offsets = [sum(steps[: n + 1]) for n in range(len(steps))]
        counts = [data.draw(st.integers(0, 2), label="records") for _ in offsets]
        changelogs = [write() for _ in offsets]
        for offset, changelog in zip(offsets, changelogs, strict=True):
            await bench.put(bench.work(offset, changelog))
        while True:
            unanswered = [n for n, answer in enumerate(bench.answers) if not answer.done()]
            unsafe = [write for write in (*changelogs, *bench.sink.deliveries) if not write.is_settled]
            if not unanswered and not unsafe:
                break
            chosen = data.draw(st.sampled_from(range(len(unanswered) + len(unsafe))), label="next to come")
            if chosen < len(unanswered):
                index = unanswered[chosen]
                bench.answers[index].set_result([record(offsets[index], n) for n in range(counts[index])])
            else:
                unsafe[chosen - len(unanswered)].settle()
            await settle()
            done = len(bench.acknowledged)
            assert bench.acknowledged == offsets[:done]
            assert all(changelog.is_settled for changelog in changelogs[:done])
            assert all(sent.is_settled for sent in bench.sink.deliveries[: sum(counts[:done])])
        assert bench.acknowledged == offsets
        assert bench.sink.records == [
            record(o, n) for o, count in zip(offsets, counts, strict=True) for n in range(count)
        ]
        assert bench.failures == []
        await bench.window.close()

    asyncio.run(scenario())
