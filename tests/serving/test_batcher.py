import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.ids import ModelVersion
from schemas.ranking import NO_INTENT, Candidates, ModelInput, ModelOutput, SessionReading
from schemas.release_folder import ReleaseError
from serving.batcher import MicroBatcher, Question
from serving.errors import (
    BadRequestError,
    BadResponseError,
    DeadlineExceededError,
    ModelUnavailableError,
    ServerBusyError,
)
from serving.fakes import FakePredictor, FakeRelease
from serving.settings import ServingSettings
from tests.builders.clocks import HandClock

V1, V2 = ModelVersion(1), ModelVersion(2)
FAR = 3600.0
RELEASES = {version: FakeRelease(version=version) for version in (V1, V2)}
NEIGHBOURS = Candidates(np.array([90], np.int32), np.array([0.1], np.float32))


def row(item: int) -> ModelInput:
    """Return a row whose only item is `item`."""
    return ModelInput(np.array([item], np.int32), np.zeros(1, np.float32))


def first_item(output: ModelOutput) -> int:
    """Return the best item of an output; the fake server answers the row's item plus one."""
    return int(output.candidates.item_indices[0])


def sizes(server: FakePredictor) -> list[int]:
    """Count the rows of each call."""
    return [len(call.batch) for call in server.calls]


@pytest.fixture
def clock() -> HandClock:
    """Return a clock to move by hand."""
    return HandClock()


@pytest.fixture
def server() -> FakePredictor:
    """Return a server with two versions."""
    return FakePredictor([1, 2])


@pytest.fixture
async def batcher(server: FakePredictor, clock: HandClock) -> AsyncIterator[MicroBatcher]:
    """Yield a batcher of at most four rows a call and six waiting."""
    batcher = MicroBatcher(
        server, ServingSettings(max_batch=4, max_waiting=6, min_budget=timedelta(milliseconds=10)), clock=clock
    )
    yield batcher
    await batcher.close()


def question(item: int, version: ModelVersion = V1, deadline: float = FAR) -> Question:
    """Make a question about a session whose only item is `item`."""
    return Question(RELEASES[version], row(item), NEIGHBOURS, deadline)


def ask(
    batcher: MicroBatcher, item: int, version: ModelVersion = V1, deadline: float = FAR
) -> "asyncio.Task[ModelOutput]":
    """Ask for one row in a task."""
    return asyncio.create_task(batcher.rank(question(item, version, deadline)))


async def test_a_row_alone_goes_at_once(batcher: MicroBatcher, server: FakePredictor) -> None:
    """Without load a call has one row and the row's whole budget."""
    assert first_item(await batcher.rank(question(10))) == 11
    assert sizes(server) == [1]
    assert server.calls[0].deadline_seconds == FAR


async def test_rows_gather_while_a_call_runs(batcher: MicroBatcher, server: FakePredictor) -> None:
    """Rows that come during a call share the next ones, in order, up to the largest batch; each gets its own answer."""
    server.hold()
    tasks = [ask(batcher, 0)]
    await server.called(1)
    tasks += [ask(batcher, item) for item in range(1, 7)]
    await asyncio.sleep(0)
    server.let_go()
    assert [first_item(output) for output in await asyncio.gather(*tasks)] == [1, 2, 3, 4, 5, 6, 7]
    assert sizes(server) == [1, 4, 2]
    assert [int(asked.items[0]) for asked in server.calls[1].batch] == [1, 2, 3, 4]


async def test_rows_of_one_turn_share_a_call(batcher: MicroBatcher, server: FakePredictor) -> None:
    """Rows asked for in the same turn of the loop go together."""
    await asyncio.gather(*(ask(batcher, item) for item in range(3)))
    assert sizes(server) == [3]


async def test_versions_never_share_a_call(batcher: MicroBatcher, server: FakePredictor) -> None:
    """Rows of two versions go in two calls, each in order."""
    versions = [V1, V2, V1, V2]
    outputs = await asyncio.gather(*(ask(batcher, item, version) for item, version in enumerate(versions)))
    assert [first_item(output) for output in outputs] == [1, 2, 3, 4]
    assert [(call.version, len(call.batch)) for call in server.calls] == [(V1, 2), (V2, 2)]


async def test_the_call_has_the_deadline_of_its_latest_row(
    batcher: MicroBatcher, server: FakePredictor, clock: HandClock
) -> None:
    """One row with much time gives the call as much."""
    clock.now = 100.0
    await asyncio.gather(ask(batcher, 1, deadline=101.0), ask(batcher, 2, deadline=105.0))
    assert server.calls[0].deadline_seconds == 5.0


async def test_a_row_past_its_deadline_is_not_sent(
    batcher: MicroBatcher, server: FakePredictor, clock: HandClock
) -> None:
    """A row whose time ran out while it waited fails before the call; its neighbour is answered."""
    server.hold()
    first = ask(batcher, 0)
    await server.called(1)
    late, good = ask(batcher, 1, deadline=5.0), ask(batcher, 2)
    await asyncio.sleep(0)
    clock.now = 5.0
    server.let_go()
    await first
    with pytest.raises(DeadlineExceededError):
        await late
    assert first_item(await good) == 3
    assert sizes(server) == [1, 1]


@pytest.mark.parametrize(("remaining", "calls"), [(0.009, 0), (0.01, 1)])
async def test_a_row_with_too_little_budget_is_not_sent(
    batcher: MicroBatcher, server: FakePredictor, clock: HandClock, remaining: float, calls: int
) -> None:
    """Below the least budget the server is not asked, so that it is not blamed; at the budget it is."""
    clock.now = 50.0
    asyncio.get_running_loop().call_soon(server.hold)
    with pytest.raises(DeadlineExceededError):
        await batcher.rank(question(1, deadline=clock.now + remaining))
    assert len(server.calls) == calls


async def test_a_row_fails_at_its_own_deadline_while_the_call_runs_on(
    batcher: MicroBatcher, server: FakePredictor, clock: HandClock
) -> None:
    """The short row of a call does not wait for the long one."""
    server.hold()
    short, long = ask(batcher, 1, deadline=0.02), ask(batcher, 2)
    with pytest.raises(DeadlineExceededError):
        await short
    assert sizes(server) == [2]
    assert not long.done()
    server.let_go()
    assert first_item(await long) == 3
    assert clock.now == 0.0


async def test_a_failing_call_fails_its_rows_only(batcher: MicroBatcher, server: FakePredictor) -> None:
    """The rows of the next call are answered."""
    server.fail_next(BadRequestError("no such row"))
    server.hold()
    first = ask(batcher, 0)
    await server.called(1)
    second = ask(batcher, 1)
    await asyncio.sleep(0)
    server.let_go()
    with pytest.raises(BadRequestError):
        await first
    assert first_item(await second) == 2


async def test_a_bug_in_the_predictor_reaches_who_asked(batcher: MicroBatcher, server: FakePredictor) -> None:
    """An unexpected exception settles the row and leaves the batcher working."""
    server.fail_next(KeyError("items"))
    with pytest.raises(KeyError):
        await batcher.rank(question(1))
    assert first_item(await batcher.rank(question(1))) == 2


async def test_a_cancelled_row_is_not_sent(batcher: MicroBatcher, server: FakePredictor) -> None:
    """Cancelling a waiting row takes it out of the next call and does nothing to the others."""
    server.hold()
    first = ask(batcher, 0)
    await server.called(1)
    gone, good = ask(batcher, 1), ask(batcher, 2)
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    server.let_go()
    await first
    assert first_item(await good) == 3
    assert sizes(server) == [1, 1]


async def test_a_row_cancelled_in_its_call_does_not_harm_the_others(
    batcher: MicroBatcher, server: FakePredictor
) -> None:
    """The call runs on, and the other row of it is answered."""
    server.hold()
    gone, good = ask(batcher, 1), ask(batcher, 2)
    await server.called(1)
    gone.cancel()
    await asyncio.wait([gone])
    server.let_go()
    assert first_item(await good) == 3


async def test_the_oldest_row_gives_way_where_too_many_wait(batcher: MicroBatcher, server: FakePredictor) -> None:
    """It has the least time left, and says that it was too many; the seventh is answered in its place."""
    server.hold()
    under_way = ask(batcher, 0)
    await server.called(1)
    oldest, *others = (ask(batcher, item) for item in range(1, 8))
    with pytest.raises(ServerBusyError, match="max_waiting"):
        await oldest
    server.let_go()
    assert [first_item(output) for output in await asyncio.gather(under_way, *others)] == [1, 3, 4, 5, 6, 7, 8]


async def test_the_answer_is_blended_with_the_rows_own_neighbours(batcher: MicroBatcher) -> None:
    """As its release does it."""
    output = await batcher.rank(question(1))
    assert output.candidates.item_indices.tolist() == [2, 3, 4, 90]


class Reading(FakePredictor):
    """Answers readings in place of candidates."""

    async def predict(self, version: Any, batch: Any, *given: Any) -> list[ModelOutput]:
        """Give a vector whose first number is the item that a search by it finds."""
        await super().predict(version, batch, *given)
        vectors = [np.array([one.items[-1] + 50, 0], np.float32) for one in batch]
        return [
            ModelOutput(Candidates.none(), NO_INTENT, SessionReading(one, np.zeros(1, np.float32))) for one in vectors
        ]


IN_A_THREAD = 6
"""Rows whose search does not hold the loop up."""


@pytest.mark.parametrize("rows", [2, IN_A_THREAD])
async def test_the_catalogue_is_searched_by_what_the_model_read(clock: HandClock, rows: int) -> None:
    """For few rows at once, for more in a thread."""
    batcher = MicroBatcher(Reading(), ServingSettings(), clock=clock)
    outputs = await asyncio.gather(*(batcher.rank(question(item)) for item in range(rows)))
    assert [output.candidates.item_indices.tolist() for output in outputs] == [[50 + n, 90] for n in range(rows)]
    await batcher.close()


@pytest.mark.parametrize("rows", [2, IN_A_THREAD])
async def test_a_release_that_cannot_be_searched_is_a_bad_response(clock: HandClock, rows: int) -> None:
    """So session-kNN answers; who asks next is served."""

    class Whole(FakeRelease):
        def search(self, *_: Any) -> list[Candidates]:
            raise ReleaseError("it has no search")

    batcher, whole = MicroBatcher(Reading(), ServingSettings(), clock=clock), Whole()
    asked = (batcher.rank(Question(whole, row(item), NEIGHBOURS)) for item in range(rows))
    for failed in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(failed, BadResponseError)
        assert "it has no search" in str(failed)
    assert first_item(await batcher.rank(question(1))) == 51
    await batcher.close()


async def test_calls_do_not_run_ahead_of_searches(clock: HandClock) -> None:
    """One batch is searched for, one waits for that, and no third is asked about meanwhile."""
    server, entered, go_on = Reading(), threading.Event(), threading.Event()

    class Slow(FakeRelease):
        def search(self, readings: Any, prefixes: Any) -> list[Candidates]:
            entered.set()
            go_on.wait(30)
            return super().search(readings, prefixes)

    batcher, slow = MicroBatcher(server, ServingSettings(max_batch=IN_A_THREAD), clock=clock), Slow()
    n = 4 * IN_A_THREAD
    asked = [asyncio.create_task(batcher.rank(Question(slow, row(item), NEIGHBOURS))) for item in range(n)]
    await asyncio.to_thread(entered.wait, 30)
    await server.called(2)
    for _ in range(50):
        await asyncio.sleep(0)
    assert sizes(server) == [IN_A_THREAD] * 2
    asked[IN_A_THREAD].cancel()
    go_on.set()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(found[IN_A_THREAD], asyncio.CancelledError)
    assert [first_item(one) for one in found if isinstance(one, ModelOutput)] == [
        50 + item for item in range(n) if item != IN_A_THREAD
    ]
    await batcher.close()


class Choosy(FakeRelease):
    """A release that cannot blend what it does not like."""

    def blend_many(
        self,
        models: Sequence[Candidates],
        neighbours: Sequence[Candidates],
        prefixes: Sequence[NDArray[np.int32]],
    ) -> list[Candidates]:
        """Blend, but for sessions of item 2."""
        if any(items[-1] == 2 for items in prefixes):
            raise ZeroDivisionError
        return super().blend_many(models, neighbours, prefixes)


async def test_a_row_that_cannot_be_blended_harms_no_other_of_its_call(
    batcher: MicroBatcher, server: FakePredictor
) -> None:
    """Who asked gets the bug to see."""
    release = Choosy()
    asked = (asyncio.create_task(batcher.rank(Question(release, row(item), NEIGHBOURS))) for item in (1, 2, 3))
    one, two, three = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(two, ZeroDivisionError)
    assert [first_item(output) for output in (one, three) if isinstance(output, ModelOutput)] == [2, 4]
    assert sizes(server) == [3]


async def test_answered_rows_are_not_kept_until_their_deadline(batcher: MicroBatcher) -> None:
    """Which may be far away."""
    for number in range(3 * 1024):
        await batcher.rank(question(number % 10))
    assert sum(type(kept).__name__ == "_Row" for kept in gc.get_objects()) <= 2 * 1024


async def test_the_next_call_is_with_the_server_while_rows_are_blended(server: FakePredictor) -> None:
    """So it works while we do."""
    batcher = MicroBatcher(server, ServingSettings(max_batch=4))
    calls_before_blending = list[int]()

    class Watching(FakeRelease):
        def blend_many(self, models: Any, neighbours: Any, prefixes: Any) -> list[Candidates]:
            calls_before_blending.append(len(server.calls))
            return super().blend_many(models, neighbours, prefixes)

    release = Watching()
    await asyncio.gather(*(batcher.rank(Question(release, row(item), NEIGHBOURS)) for item in range(8)))
    assert sizes(server) == [4, 4]
    assert calls_before_blending == [2, 2]


async def test_two_calls_may_run_where_told(server: FakePredictor, clock: HandClock) -> None:
    """With two concurrent calls the second row does not wait for the first."""
    batcher = MicroBatcher(server, ServingSettings(max_concurrent_calls=2), clock=clock)
    server.hold()
    first = ask(batcher, 1)
    await server.called(1)
    second = ask(batcher, 2)
    await server.called(2)
    server.let_go()
    assert [first_item(output) for output in await asyncio.gather(first, second)] == [2, 3]
    await batcher.close()


async def test_close_settles_everything(batcher: MicroBatcher, server: FakePredictor) -> None:
    """Rows under way, rows that wait and rows that come later fail, and nothing is left running."""
    server.hold()
    under_way = ask(batcher, 1)
    await server.called(1)
    waiting = ask(batcher, 2)
    await asyncio.sleep(0)
    await batcher.close()
    results = await asyncio.gather(under_way, waiting, return_exceptions=True)
    assert [type(result) for result in results] == [ModelUnavailableError, ModelUnavailableError]
    with pytest.raises(ModelUnavailableError):
        await batcher.rank(question(3))
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_fixed_batches_wait_for_exactly_so_many_rows(server: FakePredictor, clock: HandClock) -> None:
    """Calls have N rows in the order asked, whatever the time; `flush` sends the rest."""
    batcher = MicroBatcher(server, ServingSettings(), fixed_batch=3, clock=clock)
    tasks = [ask(batcher, item, deadline=float("inf")) for item in range(8)]
    await asyncio.gather(*tasks[:6])
    clock.now = 1e9
    await asyncio.sleep(0)
    assert sizes(server) == [3, 3]
    assert not any(task.done() for task in tasks[6:])
    batcher.flush()
    assert [first_item(output) for output in await asyncio.gather(*tasks)] == list(range(1, 9))
    assert sizes(server) == [3, 3, 2]
    later = ask(batcher, 8, deadline=float("inf"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(server.calls) == 3
    await batcher.close()
    with pytest.raises(ModelUnavailableError):
        await later


async def test_flush_during_a_call_sends_what_waits_after_it(server: FakePredictor, clock: HandClock) -> None:
    """A flush that comes while a call runs is not forgotten."""
    batcher = MicroBatcher(server, ServingSettings(), fixed_batch=2, clock=clock)
    server.hold()
    tasks = [ask(batcher, item, deadline=float("inf")) for item in range(3)]
    await server.called(1)
    batcher.flush()
    server.let_go()
    await asyncio.gather(*tasks)
    assert sizes(server) == [2, 1]
    await batcher.close()
