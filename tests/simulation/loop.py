"""An asyncio loop without time and without threads, in which whole processes can be paused and killed.

Every callback belongs to a thread of a process: the one in whose context it was scheduled. Callbacks of one thread keep
their order, as asyncio promises it; which thread goes next, and for how long, is drawn from the seed, as an operating
system would choose. A killed process runs no callback any more: no `finally`, no `except`.
"""

import asyncio
import contextvars
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from tests.simulation.clock import CLOCK

MOST_AT_ONCE: Final = 8
"""Callbacks of a thread between two choices."""
HICCUP_CHANCE: Final = 0.003
HICCUP_SECONDS: Final = 0.02
"""Now and then a thread stands for about so long: another one has the processor."""


class StandstillError(Exception):
    """Nothing will ever happen any more."""


class Thread:
    """The ready callbacks of one thread, in their order."""

    __slots__ = ("free_at", "name", "process", "ready")

    def __init__(self, process: "Process", name: str) -> None:
        self.process = process
        self.name = name
        self.ready: deque[asyncio.Handle] = deque()
        self.free_at = 0.0


class Process:
    """Threads that end together. owner: what runs in it, for whoever finds out in which process it is."""

    def __init__(self, name: str, owner: Any = None) -> None:
        self.name = name
        self.owner = owner
        self.is_alive = True
        self.paused_until = 0.0
        self.callbacks_to_live: int | None = None
        self.on_death: Callable[[], None] = lambda: None
        self._threads: dict[str, Thread] = {}

    def thread(self, name: str) -> Thread:
        """Return the thread of that name."""
        return self._threads.setdefault(name, Thread(self, name))

    def kill(self) -> None:
        """End it between two callbacks: nothing of it runs any more."""
        if self.is_alive:
            self.is_alive = False
            for thread in self._threads.values():
                thread.ready.clear()
            self.on_death()


class ProcessEndedError(BaseException):
    """Unwinds the callback in which a process ended itself; nothing catches it but what catches everything."""


_THREAD: contextvars.ContextVar[Thread] = contextvars.ContextVar("thread")


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs the callbacks of all processes; time passes only when nothing is ready."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timers_set = 0
        self._busy: dict[Thread, None] = {}
        self._kept: list[asyncio.Task[Any]] = []
        self.outside = contextvars.copy_context()
        self.outside.run(_THREAD.set, Process("world").thread("main"))
        self.callbacks = 0
        self.set_exception_handler(lambda _loop, _context: None)  # what nobody awaits, nobody misses

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine outside of all processes to its end."""
        return self.outside.run(self.run_until_complete, main)

    def end(self) -> None:
        """Let go of everything; what is closed now by the collector does nothing any more."""
        for one in (self._timers, self._kept, self._busy):
            one.clear()
        self.close()

    def time(self) -> float:
        """Return the simulated time."""
        return CLOCK.now

    def context_of(self, thread: Thread) -> contextvars.Context:
        """Make a context whose callbacks belong to `thread`."""
        context = self.outside.copy()
        context.run(_THREAD.set, thread)
        return context

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Put a callback behind those of its thread."""
        handle = asyncio.Handle(callback, args, self, context)
        self._enqueue(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule a callback."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers_set += 1
        heapq.heappush(self._timers, (when, self._timers_set, timer))
        return timer

    def create_task(self, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> asyncio.Task[Any]:
        """Make a task, and keep it: one that is collected would run its `finally`, as no killed process does."""
        task: asyncio.Task[Any] = super().create_task(coro, **kwargs)
        self._kept.append(task)
        return task

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Leave it where it is."""

    def _enqueue(self, handle: asyncio.Handle) -> None:
        thread = handle._context.get(_THREAD)
        if thread.process.is_alive:
            thread.ready.append(handle)
            self._busy[thread] = None

    def _run_once(self) -> None:
        timers = self._timers
        now = CLOCK.now
        while timers and timers[0][0] <= now:
            timer = heapq.heappop(timers)[2]
            if not timer._cancelled:
                self._enqueue(timer)
        able = [one for one in self._busy if one.free_at <= now and one.process.paused_until <= now]
        if not able:
            self._let_time_pass()
            return
        thread = able[int(self._chance.random() * len(able))]
        self._run(thread)

    def _run(self, thread: Thread) -> None:
        process, ready = thread.process, thread.ready
        for _ in range(1 + int(self._chance.random() * MOST_AT_ONCE)):
            if not ready:
                break
            handle = ready.popleft()
            if not handle._cancelled:
                self.callbacks += 1
                handle._run()
                if process.callbacks_to_live is not None:
                    process.callbacks_to_live -= 1
                    if process.callbacks_to_live <= 0:
                        process.kill()
        if not ready:
            self._busy.pop(thread, None)
        elif self._chance.random() < HICCUP_CHANCE:
            thread.free_at = CLOCK.now + self._chance.expovariate(1 / HICCUP_SECONDS)

    def _let_time_pass(self) -> None:
        """Go on to the next moment at which something can run."""
        moments = [max(thread.free_at, thread.process.paused_until) for thread in self._busy]
        if self._timers:
            moments.append(self._timers[0][0])
        if not moments:
            raise StandstillError("no callback is ready, and none is scheduled")
        CLOCK.now = min(moments)


def is_simulated() -> bool:
    """Return whether this code runs in a simulated process at all."""
    return _THREAD.get(None) is not None


def current_thread() -> Thread:
    """Return the thread in which this code runs."""
    return _THREAD.get()


def simulated_loop() -> SimulatedLoop:
    """Return the running loop as what it is."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    return loop
