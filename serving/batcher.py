"""Adaptive micro-batching: while a Predict runs, rows gather; the next one takes them. Nothing ever waits for a clock.

At low load a row goes alone and at once; at high load the batches grow by themselves. There is no delay to tune. While
the rows of one call are blended, the next one is with the server.
"""

import asyncio
import heapq
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from msgspec import Struct

from schemas.errors import InsessionError
from schemas.ranking import Candidates, ModelInput, ModelOutput
from schemas.tracing import TraceContext
from serving.errors import BadResponseError, DeadlineExceededError, ModelUnavailableError, ServerBusyError
from serving.parts import ReleaseParts
from serving.predictor import Predictor
from serving.settings import ServingSettings

log = structlog.get_logger(__name__)

_MOST_WATCHED: Final = 1024
"""Rows, many of them answered, whose deadline is watched before the answered ones are forgotten."""

_SEARCHED_AT_ONCE: Final = 4
"""Rows; the catalogue is searched for more of them in a thread, which takes a tenth of a millisecond by itself."""


class Question(Struct, frozen=True, gc=False):
    """What the model of `release` is asked, and what its ranking is blended with.

    deadline: seconds of the monotonic clock; may be infinite.
    """

    release: ReleaseParts
    row: ModelInput
    neighbours: Candidates
    deadline: float = math.inf
    trace: TraceContext | None = None


@dataclass(slots=True, eq=False)
class _Row:
    """A question that waits."""

    question: Question
    answer: "asyncio.Future[ModelOutput]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def settle(self, answer: ModelOutput) -> None:
        """Answer, unless whoever asked has left."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: BaseException) -> None:
        """Say why there is no answer, unless whoever asked has left."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # marks it as seen: whoever is cancelled at this moment never looks


class MicroBatcher:
    """Turns single questions into batches for a Predictor, and blends what it answers.

    Rows of one call are of one release and in the order in which they came. A failing call fails its own rows only;
    each row fails at its own deadline, and where too many wait, the oldest one does. A row may be cancelled at any
    time.

    fixed_batch: for replay: a call is sent only with exactly so many rows, or less at `flush()`; so what is in a batch
    does not depend on time. The client pads it to its `fixed_shape`.
    """

    def __init__(
        self,
        predictor: Predictor,
        settings: ServingSettings,
        *,
        fixed_batch: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._predictor = predictor
        self._settings = settings
        self._min_budget_seconds = settings.min_budget.total_seconds()
        self._least = fixed_batch or 1
        self._most = fixed_batch or settings.max_batch
        self._clock = clock
        self._waiting: deque[_Row] = deque()
        self._deadlines = _Deadlines(clock)
        self._calls: set[asyncio.Task[None]] = set()
        self._n_asking = 0
        self._n_searched = 0
        self._searching = asyncio.Lock()
        self._is_scheduled = False
        self._flushing = False
        self._closed = False

    def __len__(self) -> int:
        """Count the rows that wait for a call."""
        return sum(not row.answer.done() for row in self._waiting)

    async def rank(self, question: Question) -> ModelOutput:
        """Answer one question by its deadline; the candidates are those of the blend.

        Raises a PredictError; DeadlineExceededError at the deadline, whether the row was sent or not, and
        ServerBusyError where so many newer ones wait that this one gives way.
        """
        if self._closed:
            raise ModelUnavailableError("the worker is stopping; the model is asked no more")
        row = _Row(question)
        self._waiting.append(row)
        self._deadlines.add(row)
        if len(self._waiting) > self._settings.max_waiting:
            self._waiting.popleft().fail(
                ServerBusyError(f"{self._settings.max_waiting} newer rows wait for the model (serving.max_waiting)")
            )
        if not self._is_scheduled:
            # Not at once: whoever asks in this same turn of the loop shall share the call.
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._send)
        return await row.answer

    def flush(self) -> None:
        """Send what waits now even if it is less than a fixed batch."""
        self._flushing = True
        self._send()

    async def close(self) -> None:
        """Settle everything: rows that wait or are under way fail with ModelUnavailableError."""
        self._closed = True
        self._deadlines.close()
        for row in self._waiting:
            row.fail(ModelUnavailableError("the worker is stopping; the row was not sent"))
        self._waiting.clear()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    def _send(self) -> None:
        self._is_scheduled = False
        # One batch may be searched for while others are asked about; more of them count as calls.
        while not self._closed and self._n_asking + max(0, self._n_searched - 1) < self._settings.max_concurrent_calls:
            if self._least > 1 and len(self) < self._least and not self._flushing:
                break
            batch = self._next_batch()
            if not batch:
                break
            self._n_asking += 1
            call = asyncio.create_task(self._call(batch))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        self._flushing = self._flushing and bool(self._waiting)

    def _next_batch(self) -> list[_Row]:
        """Take the oldest row and those of its release, in order, up to a full batch; none where nobody waits.

        Rows that are past their deadline fail, and those that nobody waits for are forgotten.
        """
        latest = self._clock() + self._min_budget_seconds
        batch, others = list[_Row](), deque[_Row]()
        while self._waiting and len(batch) < self._most:
            row = self._waiting.popleft()
            if row.question.deadline < latest:
                row.fail(DeadlineExceededError("too little time was left to ask the model"))
            if not row.answer.done():
                is_same = not batch or row.question.release is batch[0].question.release
                (batch if is_same else others).append(row)
        self._waiting.extendleft(reversed(others))
        return batch

    async def _call(self, batch: list[_Row]) -> None:
        try:
            try:
                outputs = await self._asked([row.question for row in batch])
                self._n_searched += 1
            finally:
                self._n_asking -= 1
                self._send()
            try:
                await asyncio.sleep(0)  # the next call leaves before these rows are blended
                if outputs[0].reading is not None:
                    batch, outputs = await self._found(batch, outputs)
            finally:
                self._n_searched -= 1
                self._send()
            if batch:
                _settle(batch, outputs)
        except InsessionError as error:
            _fail(batch, error)
        except asyncio.CancelledError:
            _fail(batch, ModelUnavailableError("the worker is stopping; the call was given up"))
            raise
        except Exception as error:  # noqa: BLE001 - a bug below must not leave rows waiting; who asked gets it to see
            _fail(batch, error)

    async def _found(self, batch: list[_Row], outputs: list[ModelOutput]) -> tuple[list[_Row], list[ModelOutput]]:
        """Search the catalogue for the rows that are still waited for, one batch after the other."""
        async with self._searching:
            open_rows = [number for number, row in enumerate(batch) if not row.answer.done()]
            batch, outputs = [batch[number] for number in open_rows], [outputs[number] for number in open_rows]
            if len(batch) > _SEARCHED_AT_ONCE:
                return batch, await asyncio.to_thread(_searched, batch, outputs)
            return batch, _searched(batch, outputs) if batch else outputs

    async def _asked(self, questions: Sequence[Question]) -> list[ModelOutput]:
        budget_seconds = max(question.deadline for question in questions) - self._clock()
        traces = [question.trace for question in questions if question.trace is not None]
        rows = [question.row for question in questions]
        return await self._predictor.predict(questions[0].release.version, rows, budget_seconds, traces)


class _Deadlines:
    """Fails rows at their deadlines; there is one timer, for the earliest."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rows: list[tuple[float, int, _Row]] = []
        self._most = _MOST_WATCHED
        self._numbers = itertools.count()  # rows of one deadline have no order
        self._timer: asyncio.TimerHandle | None = None
        self._timed = math.inf

    def add(self, row: _Row) -> None:
        """Watch a row from now on."""
        deadline = row.question.deadline
        if math.isinf(deadline):
            return
        if len(self._rows) >= self._most:
            self._rows = [one for one in self._rows if not one[2].answer.done()]
            heapq.heapify(self._rows)
            self._most = max(_MOST_WATCHED, 2 * len(self._rows))
        heapq.heappush(self._rows, (deadline, next(self._numbers), row))
        if deadline < self._timed:
            self._set()

    def close(self) -> None:
        """Watch none any more."""
        self._rows.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _set(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timed = self._rows[0][0]
        self._timer = asyncio.get_running_loop().call_later(max(0.0, self._timed - self._clock()), self._expire)

    def _expire(self) -> None:
        """Fail who is due: all up to the deadline that the timer was set for."""
        due = self._timed
        while self._rows and (self._rows[0][0] <= due or self._rows[0][2].answer.done()):
            _, _, row = heapq.heappop(self._rows)
            row.fail(DeadlineExceededError("the model did not answer in time"))
        self._timer, self._timed = None, math.inf
        if self._rows:
            self._set()


def _settle(batch: Sequence[_Row], outputs: Sequence[ModelOutput]) -> None:
    """Blend and answer; where one row cannot be blended, the others are."""
    questions = [row.question for row in batch]
    try:
        rankings = blended(questions, outputs)
    except Exception as error:
        if len(batch) == 1:
            batch[0].fail(error)
            return
        log.exception("blend_failed", rows=len(batch))
        for row, output in zip(batch, outputs, strict=True):
            _settle([row], [output])
        return
    for row, ranking in zip(batch, rankings, strict=True):
        row.settle(ranking)


def _searched(batch: Sequence[_Row], outputs: Sequence[ModelOutput]) -> list[ModelOutput]:
    """Find the candidates of each row by what the model read; raises BadResponseError where its release cannot."""
    readings = [output.reading for output in outputs if output.reading is not None]
    try:
        found = batch[0].question.release.search(readings, [row.question.row.items for row in batch])
    except InsessionError as error:
        raise BadResponseError(str(error)) from error
    return [ModelOutput(candidates, output.intent) for candidates, output in zip(found, outputs, strict=True)]


def blended(questions: Sequence[Question], outputs: Sequence[ModelOutput]) -> list[ModelOutput]:
    """Blend what the model says of each row; all are of one release, and there is one at least."""
    rankings = questions[0].release.blend_many(
        [output.candidates for output in outputs],
        [question.neighbours for question in questions],
        [question.row.items for question in questions],
    )
    return [ModelOutput(ranking, output.intent) for ranking, output in zip(rankings, outputs, strict=True)]


def _fail(batch: list[_Row], error: Exception) -> None:
    for row in batch:
        row.fail(error)
