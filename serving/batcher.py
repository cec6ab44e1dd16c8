"""Adaptive micro-batching: while a Predict runs, rows gather; the next one takes them. Nothing ever waits for a clock.

At low load a row goes alone and at once; at high load the batches grow by themselves. There is no delay to tune.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from schemas.errors import InsessionError
from schemas.ids import ModelVersion
from schemas.ranking import ModelInput, ModelOutput
from schemas.tracing import TraceContext
from serving.errors import DeadlineExceededError, ModelUnavailableError, ServerBusyError
from serving.predictor import Predictor
from serving.settings import ServingSettings


@dataclass(slots=True, eq=False)
class _Row:
    version: ModelVersion
    row: ModelInput
    deadline: float
    trace: TraceContext | None
    output: "asyncio.Future[ModelOutput]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def fail(self, error: BaseException) -> None:
        """Settle the row, unless whoever asked has left."""
        if not self.output.done():
            self.output.set_exception(error)
            self.output.exception()  # marks it as seen: a row that runs into its deadline at this moment never looks


class MicroBatcher:
    """Turns single rows into batches for a Predictor.

    Rows of one call are of one model version and in the order in which they came. A failing call fails its own rows
    only. A row may be cancelled at any time.

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
        self._calls: set[asyncio.Task[None]] = set()
        self._flushing = False
        self._closed = False

    def __len__(self) -> int:
        """Count the rows that wait for a call."""
        return len(self._waiting)

    async def predict(
        self, version: ModelVersion, row: ModelInput, deadline: float, trace: TraceContext | None = None
    ) -> ModelOutput:
        """Answer one row by `deadline` (seconds of the clock; may be infinite).

        Raises a PredictError; DeadlineExceededError at the deadline, whether the row was sent or not.
        """
        if self._closed:
            raise ModelUnavailableError("the worker is stopping; the model is asked no more")
        if len(self._waiting) >= self._settings.max_waiting:
            raise ServerBusyError(f"{len(self._waiting)} rows wait for the model already (serving.max_waiting)")
        waiting = _Row(version, row, deadline, trace)
        self._waiting.append(waiting)
        # Not at once: whoever asks in this same turn of the loop shall share the call.
        asyncio.get_running_loop().call_soon(self._send)
        try:
            async with asyncio.timeout(None if math.isinf(deadline) else max(0.0, deadline - self._clock())):
                return await waiting.output
        except TimeoutError as error:
            raise DeadlineExceededError("the model did not answer in time") from error

    def flush(self) -> None:
        """Send what waits now even if it is less than a fixed batch."""
        self._flushing = True
        self._send()

    async def close(self) -> None:
        """Settle everything: rows that wait or are under way fail with ModelUnavailableError."""
        self._closed = True
        for row in self._waiting:
            row.fail(ModelUnavailableError("the worker is stopping; the row was not sent"))
        self._waiting.clear()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    def _send(self) -> None:
        while len(self._calls) < self._settings.max_concurrent_calls:
            self._drop_settled()
            if not self._waiting or (len(self._waiting) < self._least and not self._flushing):
                break
            call = asyncio.create_task(self._call(self._next_batch()))
            self._calls.add(call)
            call.add_done_callback(self._done)
        self._flushing = self._flushing and bool(self._waiting)

    def _drop_settled(self) -> None:
        """Fail the rows that are past their deadline and forget those that nobody waits for."""
        latest = self._clock() + self._min_budget_seconds
        for row in self._waiting:
            if row.deadline < latest:
                row.fail(DeadlineExceededError("too little time was left to ask the model"))
        self._waiting = deque(row for row in self._waiting if not row.output.done())

    def _next_batch(self) -> list[_Row]:
        """Take the oldest row and those of its version, in order, up to a full batch."""
        version = self._waiting[0].version
        batch = [row for row in self._waiting if row.version == version][: self._most]
        taken = set(map(id, batch))
        self._waiting = deque(row for row in self._waiting if id(row) not in taken)
        return batch

    async def _call(self, batch: list[_Row]) -> None:
        budget_seconds = max(row.deadline for row in batch) - self._clock()
        try:
            traces = [row.trace for row in batch if row.trace is not None]
            rows = [row.row for row in batch]
            outputs = await self._predictor.predict(batch[0].version, rows, budget_seconds, traces)
            for row, output in zip(batch, outputs, strict=True):
                if not row.output.done():
                    row.output.set_result(output)
        except InsessionError as error:
            _fail(batch, error)
        except asyncio.CancelledError:
            _fail(batch, ModelUnavailableError("the worker is stopping; the call was given up"))
            raise
        except Exception as error:  # noqa: BLE001 - a bug below must not leave rows waiting; who asked gets it to see
            _fail(batch, error)

    def _done(self, call: "asyncio.Task[None]") -> None:
        self._calls.discard(call)
        if not self._closed:
            self._send()


def _fail(batch: list[_Row], error: Exception) -> None:
    for row in batch:
        row.fail(error)
