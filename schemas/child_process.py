"""A program beside this one, as a child process: started, waited for, stopped, killed, and gone with its parent."""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn, Self

from schemas import watchdog
from schemas.errors import InsessionError

STOP_TIMEOUT_SECONDS: Final = 5.0
_LOG_TAIL_LINES: Final = 5
_MAX_READY_LINE_BYTES: Final = 4096
_POLL_SECONDS: Final = 0.1


class ChildError(InsessionError):
    """A child has ended, or is not ready in time. what: that alone, without its name and its last words."""

    def __init__(self, what: str, text: str) -> None:
        super().__init__(text)
        self.what = what


class ChildProcess:
    """A program that runs from construction to `stop`, `kill` or the end of the `with` block.

    It dies with this process, however that ends. Its own process group keeps a Ctrl-C from it: this process decides in
    which order its parts end. name: of whom errors speak. log_path: gets what it writes, appended; else the streams of
    this process do. environment: instead of this process's. has_pipes: its standard output is kept for
    `wait_for_line`, and its standard input is open until `stop`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log_path: Path | None = None,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        has_pipes: bool = False,
    ) -> None:
        self._name, self._log_path = name, log_path
        with contextlib.nullcontext() if log_path is None else log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - no shell; commands of ours
                command,
                stdin=subprocess.PIPE if has_pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if has_pipes else log,
                stderr=log,
                env=environment,
                cwd=cwd,
                process_group=0,
            )
        self._watchdog = watchdog.kill_with_parent(self._process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def output(self) -> int:
        """The file descriptor of its standard output, to be read by whoever waits for several children at once."""
        assert self._process.stdout is not None, "only a child with pipes is heard"
        return self._process.stdout.fileno()

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative = the signal that killed it; None while it runs."""
        return self._process.poll()

    def wait_for_line(self, timeout_seconds: float) -> str:
        """Return its first line on standard output. Raises ChildError when it ends, or the time does, before that."""
        assert self._process.stdout is not None, "only a child with pipes is heard"
        deadline = time.monotonic() + timeout_seconds
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self.fail(f"is not ready after {timeout_seconds:.0f} s")
                chunk = os.read(self._process.stdout.fileno(), _MAX_READY_LINE_BYTES)
                if not chunk:
                    self.fail(f"ended with exit code {self.wait()}")
                line += chunk
        return line.decode()

    def wait_until(self, is_ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Ask until the answer is yes. Raises ChildError when it ends, or the time does, before that."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            self.check()  # first: another program may answer in its place
            if is_ready():
                return
            if time.monotonic() > deadline:
                self.fail(f"is not ready after {timeout_seconds:.0f} s")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait(_POLL_SECONDS)

    def check(self) -> None:
        """Raise ChildError if it has ended."""
        if self.exit_code is not None:
            self.fail(f"ended with exit code {self.exit_code}")

    def fail(self, what: str) -> NoReturn:
        """Raise ChildError with what is wrong and its last words."""
        words = "" if self._log_path is None else f"; its log {self._log_path} ends: {last_words(self._log_path)}"
        raise ChildError(what, f"{self._name} {what}{words}")

    def send(self, signal_number: signal.Signals) -> None:
        """Send a signal; no effect on one that has ended."""
        self._process.send_signal(signal_number)

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Wait for its end and give the exit code, as `exit_code`. Raises subprocess.TimeoutExpired."""
        code = self._process.wait(timeout_seconds)
        watchdog.dismiss(self._watchdog)
        return code

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """Ask it to end, with pipes by the end of its input, else by SIGTERM; kill it where that takes longer."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        else:
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_seconds)
        self.kill()

    def kill(self) -> None:
        """End it as a crash would; no effect on one that has ended."""
        self._process.kill()
        self.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def last_words(log_path: Path) -> str:
    """Return the last lines of a program's log, as one."""
    lines = log_path.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    return " | ".join(line.strip() for line in lines) or "it said nothing"
