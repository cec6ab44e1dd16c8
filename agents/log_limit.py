"""The bound on the log: repeats of a line are held back and counted, so that an outage of a night fills no disk."""

import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Final, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily

LINES_PER_WINDOW: Final = 50
WINDOW_SECONDS: Final = 60.0
MAX_KINDS: Final = 100
SUMMARY_FIELDS: Final = ("of", "suppressed")
"""What the line `log_lines_suppressed` says: a kind's message, and how many lines of it were held back."""
_NUMBERS: Final = re.compile(r"\d+")
_KIND_CHARACTERS: Final = 200
_KIND_FIELDS: Final = ("reason", "field")
"""Fields of ours that tell kinds apart; each has few values. Topics and offsets have too many."""


class Kind(NamedTuple):
    """What makes lines repeats of each other."""

    logger: str
    level: int
    place: str
    message: str
    fields: tuple[str, ...] = ()


_OTHER: Final = Kind(__name__, logging.WARNING, "", "other messages")


@dataclass(slots=True)
class _Window:
    """The lines of one kind since `began_seconds`, by the limit's clock."""

    began_seconds: float
    written: int = 0
    suppressed: int = 0


class LimitedHandler(logging.StreamHandler[IO[str]]):
    """Writes the first `LINES_PER_WINDOW` lines of a kind in a window of `WINDOW_SECONDS`, and then how many more came.

    A kind is the place in the program and the event, or the library's message without its numbers: late clicks are one,
    each reason of a dead letter is one, whatever record they are about. What is CRITICAL always passes: it says why a
    process ends. Kinds beyond `MAX_KINDS` in a window count as one, so that nothing a record says breaks the bound.

    clock: seconds that never go back.
    """

    def __init__(self, stream: IO[str], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self.suppressed_lines = 0
        self._clock = clock
        self._windows: dict[Kind, _Window] = {}
        self._next_look_seconds = clock() + WINDOW_SECONDS

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or count it; tell first what was held back in windows that are over."""
        now_seconds = self._clock()
        if now_seconds >= self._next_look_seconds:
            self._next_look_seconds = now_seconds + WINDOW_SECONDS
            over = [kind for kind, one in self._windows.items() if now_seconds - one.began_seconds >= WINDOW_SECONDS]
            self._end(over)
        if record.levelno >= logging.CRITICAL or self._may_pass(_kind_of(record), now_seconds):
            super().emit(record)

    def close(self) -> None:
        """Log what was held back until now."""
        with self.lock or contextlib.nullcontext():
            self._end(list(self._windows))
        super().close()

    def _may_pass(self, kind: Kind, now_seconds: float) -> bool:
        if kind in self._windows and now_seconds - self._windows[kind].began_seconds >= WINDOW_SECONDS:
            self._end([kind])
        if kind not in self._windows and len(self._windows) >= MAX_KINDS:
            kind = _OTHER
        window = self._windows.setdefault(kind, _Window(now_seconds))
        if window.written < LINES_PER_WINDOW:
            window.written += 1
            return True
        window.suppressed += 1
        self.suppressed_lines += 1
        return False

    def _end(self, kinds: Iterable[Kind]) -> None:
        for kind in kinds:
            suppressed = self._windows.pop(kind).suppressed
            if suppressed:
                line = logging.LogRecord(kind.logger, kind.level, "", 0, "log_lines_suppressed", None, None)
                line.__dict__.update(of=kind.message, suppressed=suppressed)  # as `extra` does
                super().emit(line)


class _SuppressedLines:
    """Collects from the handlers of the root logger, so that whoever counts need not know who logs."""

    def collect(self) -> Iterator[CounterMetricFamily]:
        handlers = (one for one in logging.getLogger().handlers if isinstance(one, LimitedHandler))
        yield CounterMetricFamily(
            "insession_log_lines_suppressed",
            "Log lines that were held back as repeats.",
            value=sum(handler.suppressed_lines for handler in handlers),
        )


def add_log_metrics(registry: CollectorRegistry) -> None:
    """Add the count of lines that were held back."""
    registry.register(_SuppressedLines())


def _kind_of(record: logging.LogRecord) -> Kind:
    message: Any = record.msg
    fields = message if isinstance(message, dict) else {}
    text = _NUMBERS.sub("0", str(fields.get("event", message))[:_KIND_CHARACTERS])
    distinguished = tuple(str(fields.get(name))[:_KIND_CHARACTERS] for name in _KIND_FIELDS)
    return Kind(record.name, record.levelno, f"{record.pathname}:{record.lineno}", text, distinguished)
