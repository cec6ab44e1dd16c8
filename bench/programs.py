"""The programs that are measured, as processes of their own."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from agents.demo.processes import free_port
from schemas.child_process import ChildProcess
from streams.cluster.topics import Topic, TopicSettings

BACKLOG_SETTINGS = {
    # A backlog is older than any freshness budget and would be answered without the model, which is not what is asked.
    "INSESSION_CLICKSTREAM__FRESHNESS_BUDGET": "600",
    "INSESSION_KAFKA__REBALANCE_TIMEOUT": "700",
    "INSESSION_KAFKA__STALL_TIMEOUT": "800",
    # More than the windows of all partitions hold: no row is turned away while the backlog is worked off.
    "INSESSION_SERVING__MAX_WAITING": "65536",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one program runs once: the broker, topics of its own, a folder of its own."""

    brokers: str
    topics: TopicSettings
    folder: Path


@dataclass(frozen=True, slots=True)
class Subject:
    """One measured program.

    answers: it answers every record, by RecommendationSets. changelog: the name, without the prefix, of a topic that it
    is given: no run shall wait for the making of one.
    """

    name: str
    command: Callable[[Place], list[str]]
    settings: Mapping[str, str] = field(default_factory=dict)
    answers: bool = True
    changelog: str | None = None


@dataclass(frozen=True, slots=True)
class ModelServer:
    """Where a model is served, and the models directory that it serves."""

    address: str
    models: Path


def bare_faust() -> Subject:
    """Describe the Faust agent with one table write and one send."""

    def command(place: Place) -> list[str]:
        return [
            *_baseline("bare_faust", place),
            f"--app-id={place.topics.prefix}bare-faust",
            f"--partitions={place.topics.partitions}",
            f"--datadir={place.folder / 'state'}",
        ]

    return Subject("bare Faust", command, answers=False, changelog="bare-faust-last-changelog")


def raw_aiokafka() -> Subject:
    """Describe the loop over aiokafka's consumer and producer."""

    def command(place: Place) -> list[str]:
        return [*_baseline("raw_aiokafka", place), f"--changelog={place.topics.prefix}{changelog}"]

    changelog = "raw-aiokafka-changelog"
    return Subject("raw aiokafka", command, answers=False, changelog=changelog)


def worker(name: str, server: ModelServer | None, settings: Mapping[str, str]) -> Subject:
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

    return Subject(name, command, settings)


def _baseline(module: str, place: Place) -> list[str]:
    source, target = (place.topics.name(topic) for topic in (Topic.CLICKSTREAM, Topic.RECOMMENDATIONS))
    python = [sys.executable, "-m", f"bench.{module}"]
    return [*python, f"--brokers={place.brokers}", f"--source={source}", f"--target={target}"]


class Running:
    """A subject that runs until the end of the `with` block.

    It is killed, not stopped: all that counts is on the broker by then.
    """

    def __init__(self, subject: Subject, place: Place) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("INSESSION_")}
        environment = {**inherited, **subject.settings}
        self._child = ChildProcess(
            subject.name, subject.command(place), log_path=place.folder / "log", environment=environment
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.kill()

    def cpu_seconds(self) -> float:
        """Return the processor time that the program has taken so far."""
        times = psutil.Process(self._child.pid).cpu_times()
        return float(times.user + times.system)

    def check(self, *, is_stuck: bool, done: str) -> None:
        """Raise ChildError with the program's last words where it has ended or `is_stuck`; done: how far it is."""
        if is_stuck or self._child.exit_code is not None:
            what = "gets no further" if is_stuck else f"ended with exit code {self._child.exit_code}"
            self._child.fail(f"{what}, {done}")
