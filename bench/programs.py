"""The programs that are measured, as processes of their own."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.process_cost import held_bytes
from bench.release import MAX_MEMORY_BYTES
from bench.thread_cpu import cpu_seconds
from schemas.child_process import ChildProcess
from schemas.free_ports import free_port
from streams.cluster.topics import Topic, TopicSettings

BACKLOG_SETTINGS = {
    # A backlog is older than any freshness budget and would be answered without the model, which is not what is asked.
    "INSESSION_CLICKSTREAM__FRESHNESS_BUDGET": "600",
    "INSESSION_KAFKA__REBALANCE_TIMEOUT": "700",
    "INSESSION_KAFKA__STALL_TIMEOUT": "800",
    # More than the windows of all partitions hold: no row is turned away while the backlog is worked off.
    "INSESSION_SERVING__MAX_WAITING": "65536",
    "INSESSION_SERVING__RELEASE_MAX_MEMORY_BYTES": str(MAX_MEMORY_BYTES),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one program runs once: the broker, topics of its own, a folder of its own."""

    brokers: str
    topics: TopicSettings
    folder: Path


@dataclass(frozen=True, slots=True)
class ModelServer:
    """Where a model is served, by which process, and the models directory that it serves."""

    address: str
    pid: int
    models: Path


@dataclass(frozen=True, slots=True)
class Subject:
    """One measured program.

    key: its name in JSON. answers: it answers every record, by RecommendationSets. changelog: the name, without the
    prefix, of a topic that it is given: no run shall wait for the making of one.
    """

    key: str
    name: str
    command: Callable[[Place], list[str]]
    settings: Mapping[str, str] = field(default_factory=dict)
    answers: bool = True
    changelog: str | None = None
    server: ModelServer | None = None


def bare_faust() -> Subject:
    """Describe the Faust agent with one table write and one send."""

    def command(place: Place) -> list[str]:
        return [
            *_baseline("bare_faust", place),
            f"--app-id={place.topics.prefix}bare-faust",
            f"--partitions={place.topics.partitions}",
            f"--datadir={place.folder / 'state'}",
        ]

    return Subject("bare_faust", "bare Faust", command, answers=False, changelog="bare-faust-last-changelog")


def raw_aiokafka() -> Subject:
    """Describe the loop over aiokafka's consumer and producer."""

    def command(place: Place) -> list[str]:
        return [*_baseline("raw_aiokafka", place), f"--changelog={place.topics.prefix}{changelog}"]

    changelog = "raw-aiokafka-changelog"
    return Subject("raw_aiokafka", "raw aiokafka", command, answers=False, changelog=changelog)


def quix_streams(python: Path) -> Subject:
    """Describe the Quix Streams application with one state write and one send; python: that has it."""

    def command(place: Place) -> list[str]:
        group = f"{place.topics.prefix}quix"
        return [
            *_baseline("quix_streams", place, str(python)),
            f"--group={group}",
            f"--partitions={place.topics.partitions}",
            f"--state-dir={place.folder / 'state'}",
        ]

    return Subject("quix", "Quix Streams", command, answers=False)


def worker(key: str, name: str, server: ModelServer | None, settings: Mapping[str, str]) -> Subject:
    """Describe `insession worker`; without a `server` it finds no release and answers what is popular."""

    def command(place: Place) -> list[str]:
        models = place.folder / "no-release" if server is None else server.models
        options: dict[str, object] = {
            "brokers": place.brokers,
            "prefix": place.topics.prefix,
            "partitions": place.topics.partitions,
            "replication": place.topics.replication,
            "datadir": place.folder / "state",
            "web-port": free_port(),
            "models": models,
            "log-level": "WARNING",
        }
        if server is not None:
            options["serving"] = server.address
        executable = Path(sys.executable).with_name("insession")
        return [str(executable), "worker", *(f"--{option}={value}" for option, value in options.items())]

    return Subject(key, name, command, settings, server=server)


def _baseline(module: str, place: Place, python: str = sys.executable) -> list[str]:
    source, target = (place.topics.name(topic) for topic in (Topic.CLICKSTREAM, Topic.RECOMMENDATIONS))
    return [python, "-m", f"bench.{module}", f"--brokers={place.brokers}", f"--source={source}", f"--target={target}"]


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds by the names of threads; `server` is empty where there is none."""

    program: Mapping[str, float]
    server: Mapping[str, float]

    def since(self, before: "Cpu", events: int) -> "Cpu":
        """Return what was taken since `before`, in microseconds an event."""

        def each(now: Mapping[str, float], then: Mapping[str, float]) -> dict[str, float]:
            taken = {name: 1e6 * (seconds - then.get(name, 0.0)) / events for name, seconds in now.items()}
            return {name: round(us, 1) for name, us in taken.items() if us > 0}

        return Cpu(each(self.program, before.program), each(self.server, before.server))


@dataclass(frozen=True, slots=True)
class HeldBytes:
    """Memory; `server` is 0 where there is none."""

    program: int
    server: int


class Running:
    """A subject that runs until the end of the `with` block.

    It is killed, not stopped: all that counts is on the broker by then.
    """

    def __init__(self, subject: Subject, place: Place) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("INSESSION_")}
        environment = {**inherited, **subject.settings}
        self._server = subject.server
        self._child = ChildProcess(
            subject.name, subject.command(place), log_path=place.folder / "log", environment=environment
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.kill()

    def cpu(self) -> "Cpu":
        """Return the processor time that the program and its model server have taken so far."""
        return Cpu(cpu_seconds(self._child.pid), {} if self._server is None else cpu_seconds(self._server.pid))

    def held(self) -> HeldBytes:
        """Return the memory that the program and its model server hold."""
        return HeldBytes(held_bytes(self._child.pid), 0 if self._server is None else held_bytes(self._server.pid))

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Keep the program from the processor; its connections stay."""
        os.kill(self._child.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._child.pid, signal.SIGCONT)

    def check(self, *, is_stuck: bool, done: str) -> None:
        """Raise ChildError with the program's last words where it has ended or `is_stuck`; done: how far it is."""
        if is_stuck or self._child.exit_code is not None:
            what = "gets no further" if is_stuck else f"ended with exit code {self._child.exit_code}"
            self._child.fail(f"{what}, {done}")
