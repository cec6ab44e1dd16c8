"""Ctrl-C and SIGTERM, heard once: at first they end a command, once there is something to show they end its work."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final, Self

INTERRUPTED: Final = 130
"""Exit code, as shells give it after Ctrl-C."""


class Interruption:
    """Within the `with` block both signals raise KeyboardInterrupt, once; inside `deferred` they only set `came`.

    Later ones are ignored: what they would interrupt is the end itself, which is bounded.
    """

    def __init__(self) -> None:
        self.came = False
        self._is_deferred = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note a signal while the block runs, and after it."""
        self._is_deferred = True
        yield

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.came:
            return
        self.came = True
        if not self._is_deferred:
            raise KeyboardInterrupt
