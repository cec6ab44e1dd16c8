"""Children of every kind: those that say a line, those that are asked, those that do not heed, and orphans."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from schemas.child_process import ChildError, ChildProcess

SAYS_AND_HEARS = "import sys; print('ready', flush=True); sys.stdin.read()"
HEEDS_NOTHING = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("x", flush=True)
signal.pause()
"""
PARENT = """
import sys
from schemas.child_process import ChildProcess
child = ChildProcess("a child", [sys.executable, "-c", "import signal; signal.pause()"])
print(child.pid, flush=True)
sys.stdin.read()
"""


def python(program: str, **options: object) -> ChildProcess:
    """Start a child that runs a program."""
    return ChildProcess("the child", [sys.executable, "-c", program], **options)  # type: ignore[arg-type]


def test_a_line_says_that_it_is_ready_and_the_end_of_its_input_ends_it() -> None:
    """The block ends in order: exit code 0."""
    with python(SAYS_AND_HEARS, has_pipes=True) as child:
        assert child.wait_for_line(60) == "ready\n"
        assert child.exit_code is None
    assert child.exit_code == 0


def test_one_that_ends_before_the_line_is_told_by_its_last_words(tmp_path: Path) -> None:
    """The error has name, exit code, log and its end; `what` is the exit code alone."""
    log = tmp_path / "log"
    log.write_text("of before\n")
    with (
        python("import sys; sys.exit('no disk')", log_path=log, has_pipes=True) as child,
        pytest.raises(
            ChildError, match=r"^the child ended with exit code 1; its log .*: of before \| no disk$"
        ) as told,
    ):
        child.wait_for_line(60)
    assert told.value.what == "ended with exit code 1"


def test_a_silent_one_is_waited_for_only_so_long() -> None:
    """Neither a line nor a yes in time; without a log there are no last words."""
    with python("import sys; sys.stdin.read()", has_pipes=True) as child:
        with pytest.raises(ChildError, match=r"the child is not ready after 0 s$"):
            child.wait_for_line(0)
        with pytest.raises(ChildError, match=r"the child is not ready after 0 s$"):
            child.wait_until(lambda: False, 0)


def test_one_that_ends_while_it_is_asked_is_not_asked_for_ever(tmp_path: Path) -> None:
    """`wait_until` ends with the child; `check` says the same afterwards."""
    with python("", log_path=tmp_path / "log") as child:
        with pytest.raises(ChildError, match=r"ended with exit code 0; its log .* ends: it said nothing"):
            child.wait_until(lambda: False, 60)
        with pytest.raises(ChildError, match="ended with exit code 0"):
            child.check()


def test_one_that_does_not_heed_is_killed(tmp_path: Path) -> None:
    """SIGTERM first, SIGKILL after the timeout; a second stop has no effect."""
    log = tmp_path / "log"
    child = python(HEEDS_NOTHING, log_path=log)
    child.wait_until(lambda: log.read_text() == "x\n", 60)
    child.stop(timeout_seconds=0.1)
    assert child.exit_code == -signal.SIGKILL
    child.stop()
    assert child.exit_code == -signal.SIGKILL


def test_ctrl_c_does_not_reach_it() -> None:
    """It is in a process group of its own."""
    with python(SAYS_AND_HEARS, has_pipes=True) as child:
        assert os.getpgid(child.pid) == child.pid


def test_it_dies_with_a_parent_that_is_killed() -> None:
    """SIGKILL leaves the parent no chance to stop anything."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        child.wait(timeout=60)
