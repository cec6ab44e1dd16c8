import asyncio
from functools import partial

import pytest

from streams.fakes import ListSink
from streams.records import Delivery, OutputRecord, delivered


def delivery() -> Delivery:
    """Make one that hangs."""
    return Delivery("out", b"k")


def note(order: list[int], number: int, _delivery: Delivery) -> None:
    """Take in that this one is told."""
    order.append(number)


def told(delivery: Delivery) -> list[Exception | None]:
    """Let what becomes of it be noted."""
    heard: list[Exception | None] = []
    delivery.then(lambda one: heard.append(one.error))
    return heard


SAFE, FAILED = None, OSError("too large")


@pytest.mark.parametrize("error", [SAFE, FAILED])
def test_whoever_waits_is_told_in_the_very_call(error: Exception | None) -> None:
    """All of them, in the order in which they asked, each once."""
    one = delivery()
    order: list[int] = []
    for number in range(3):
        one.then(partial(note, order, number))
    heard = told(one)
    assert (one.is_settled, order, heard) == (False, [], [])
    one.settle(error)
    assert (one.is_settled, one.error, order, heard) == (True, error, [0, 1, 2], [error])


@pytest.mark.parametrize("error", [SAFE, FAILED])
def test_whoever_comes_late_is_told_at_once(error: Exception | None) -> None:
    """A sink may know at the hand-over what became of a record."""
    one = delivery()
    one.settle(error)
    assert told(one) == [error]


@pytest.mark.parametrize(("first", "second"), [(SAFE, FAILED), (FAILED, SAFE), (FAILED, OSError()), (SAFE, SAFE)])
def test_a_delivery_settles_once(first: Exception | None, second: Exception | None) -> None:
    """An acknowledgement that comes after its time changes nothing, and nobody hears of it."""
    one = delivery()
    heard = told(one)
    one.settle(first)
    one.settle(second)
    assert (one.error, heard) == (first, [first])


def test_whoever_is_told_may_ask_again() -> None:
    """It is settled for the one who is told, too."""
    one = delivery()
    heard: list[bool] = []
    one.then(lambda one: one.then(lambda again: heard.append(again.is_settled)))
    one.settle()
    assert heard == [True]


async def test_several_may_wait_for_one() -> None:
    """They go on when it is settled, and not before."""
    one = delivery()

    async def wait() -> str:
        await one
        return "safe"

    waiting = [asyncio.ensure_future(wait()) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    one.settle()
    assert await asyncio.gather(*waiting) == ["safe"] * 3


@pytest.mark.parametrize("settles_before", [True, False])
async def test_whoever_waits_for_what_fails_is_told_why(*, settles_before: bool) -> None:
    """Each of them, whether it failed before or after the wait began."""
    one = delivery()
    if settles_before:
        one.settle(FAILED)
    waiting = [asyncio.ensure_future(awaited(one)) for _ in range(2)]
    await asyncio.sleep(0)
    one.settle(FAILED)
    assert await asyncio.gather(*waiting, return_exceptions=True) == [FAILED] * 2


async def awaited(delivery: Delivery) -> None:
    """Wait for one."""
    await delivery


async def test_what_is_settled_is_not_waited_for() -> None:
    """Not even for a turn of the loop."""
    one = delivery()
    one.settle()
    turns: list[int] = []
    asyncio.get_running_loop().call_soon(turns.append, 1)
    await one
    await delivered()
    assert turns == []


async def test_a_wait_that_is_given_up_disturbs_nobody() -> None:
    """The others are told as ever."""
    one = delivery()
    given_up, patient = (asyncio.ensure_future(awaited(one)) for _ in range(2))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    heard = told(one)
    one.settle()
    await patient
    assert (given_up.cancelled(), heard) == (True, [None])


def test_what_is_safe_already_says_so() -> None:
    """A file has a record when the call comes back; each has a delivery of its own."""
    one = delivered()
    assert (one.is_settled, one.error, told(one)) == (True, None, [None])
    assert one is not delivered()


def test_a_delivery_knows_its_record_and_not_yet_its_place() -> None:
    """Whoever sent it tells the offset before it settles."""
    one = delivery()
    assert (one.topic, one.key, one.offset) == ("out", b"k", -1)


def test_the_list_keeps_records_and_lets_the_test_settle_them() -> None:
    """It ships, for tests of whatever sends records; what it refuses it does not keep."""
    sink = ListSink()
    sent = [sink.send(OutputRecord("out", b"%d" % number, None)) for number in range(2)]
    assert sent == sink.deliveries
    assert not any(one.is_settled for one in sent)
    sent[0].settle()
    sink.acknowledge_all()
    assert all(one.is_settled for one in sent)
    sink.refusal = FAILED
    with pytest.raises(OSError, match="too large"):
        sink.send(OutputRecord("out", b"2", None))
    assert [record.key for record in sink.records] == [b"0", b"1"]
