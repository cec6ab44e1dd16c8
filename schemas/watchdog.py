"""Children that do not outlive their parent, not even when the parent is killed with SIGKILL."""

import subprocess


def kill_with_parent(pid: int) -> "subprocess.Popen[bytes]":
    """Start a watchdog that kills process `pid` when this process ends, however it ends; return the watchdog.

    The watchdog waits for the end of a pipe that only this process holds. Unlike `PR_SET_PDEATHSIG` this does not hang
    on the thread that started the child, and works on macOS. Call `dismiss` once the child has ended, so that the
    watchdog does not hold a number that another process may get.
    """
    return subprocess.Popen(  # noqa: S603 - constants and an integer
        ["/bin/sh", "-c", f"read _; kill -KILL {pid:d}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def dismiss(watchdog: "subprocess.Popen[bytes]") -> None:
    """End a watchdog without harm to the process it watches."""
    watchdog.kill()
    watchdog.wait()
    assert watchdog.stdin is not None
    watchdog.stdin.close()
