import resource

import pytest
import structlog

from agents.worker.process import raise_open_files_limit


class Limits:
    """The limits of a process that is not this one. refuses: as a kernel with a bound of its own."""

    def __init__(self, soft: int, hard: int, *, refuses: bool = False) -> None:
        self.soft, self.hard, self.refuses = soft, hard, refuses

    def getrlimit(self, _resource: int) -> tuple[int, int]:
        """Return them."""
        return self.soft, self.hard

    def setrlimit(self, _resource: int, limits: tuple[int, int]) -> None:
        """Set them."""
        if self.refuses:
            raise ValueError("not allowed to raise maximum limit")
        self.soft, self.hard = limits


def put(monkeypatch: pytest.MonkeyPatch, limits: Limits) -> Limits:
    """Return these limits to whoever asks."""
    monkeypatch.setattr(resource, "getrlimit", limits.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", limits.setrlimit)
    return limits


def test_a_worker_takes_all_open_files_that_it_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many partitions take more than the usual 1,024; what the administrator allows stays."""
    limits = put(monkeypatch, Limits(1024, 524_288))
    raise_open_files_limit()
    assert (limits.soft, limits.hard) == (524_288, 524_288)


def test_a_limit_that_cannot_be_raised_is_told_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """With how many it stays at."""
    put(monkeypatch, Limits(1024, resource.RLIM_INFINITY, refuses=True))
    with structlog.testing.capture_logs() as logged:
        raise_open_files_limit()
    assert [(entry["event"], entry["limit"]) for entry in logged] == [("open_files_limit_stays", 1024)]
