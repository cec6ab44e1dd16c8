import os
import threading
import time

from bench.thread_cpu import MAIN, cpu_seconds

BUSY_SECONDS = 0.1


def burn() -> None:
    """Take processor time."""
    until = time.thread_time() + BUSY_SECONDS
    while time.thread_time() < until:
        pass


def test_the_main_thread_is_told_from_the_others() -> None:
    """What a thread takes while it lives is its own; the kernel counts in hundredths of a second."""
    before, measured, over = cpu_seconds(os.getpid()), threading.Event(), threading.Event()

    def work() -> None:
        burn()
        measured.set()
        over.wait()

    thread = threading.Thread(target=work)
    thread.start()
    measured.wait()
    after = cpu_seconds(os.getpid())
    over.set()
    thread.join()
    taken = {name: seconds - before.get(name, 0.0) for name, seconds in after.items()}
    others = sum(seconds for name, seconds in taken.items() if name != MAIN)
    assert others >= BUSY_SECONDS - 0.02 > taken[MAIN]
