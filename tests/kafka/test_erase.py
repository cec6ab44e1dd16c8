"""`insession erase` beside two workers: afterwards nothing but what the report names holds the id."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from agents.commands.plain_text import rfc3339
from schemas import wire
from schemas.state import VisitorState, decode_state, is_mark
from streams.cluster.topics import Topic, changelog_name
from streams.state.blocked_ids import is_block_key
from tests.builders.clicks import click
from tests.kafka.deployment import Deploy, Deployment, NewRecord
from tests.kafka.ledger import last_values
from tests.kafka.topic_log import LoggedRecord
from tests.kafka.worker_process import COMMAND, WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(420)]

VISITOR, COOKIE, OTHER = "erase-me-please", "cookie-of-whom-to-erase", "someone-who-stays"
SIBLING: Final = "someone-on-the-same-device"
BOTH: Final = (VISITOR.encode(), COOKIE.encode())
PARTITIONS: Final = 2
COMPACT_AT_ONCE: Final = {
    "segment.ms": "200",
    "min.cleanable.dirty.ratio": "0.0",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "200",
    "delete.retention.ms": "0",
}
KEPT: Final = (Topic.OUTCOMES, Topic.DEAD_LETTERS, Topic.SESSION_ENDS)
"""Topics in which records stay until their retention ends."""


def shopping() -> Iterable[NewRecord]:
    """Make all that leaves traces: sessions, a session end, a login, a purchase, answers with outcomes, a letter."""
    yield from (click(COOKIE, item_id=f"i{number}") for number in range(3))
    yield click(VISITOR, anonymous_id=COOKIE)
    yield click(VISITOR, event_type="purchase")
    yield click(VISITOR, event_type="session_end", item_id=None)
    yield from (click(VISITOR, item_id=f"i{number}") for number in range(3))
    yield NewRecord(VISITOR.encode(), b'{"visitor_id": "' + VISITOR.encode() + b'", "event_type": "view"')
    yield from (click(f"{OTHER}-{number}") for number in range(40))


class Command:
    """`insession erase` as a process of its own, on a deployment."""

    def __init__(self, deployment: Deployment) -> None:
        topics = deployment.settings.topics
        self._options = ["--brokers", deployment.settings.kafka.brokers, "--prefix", topics.prefix, "--json"]
        self._environment = {"INSESSION_TOPICS__PARTITIONS": str(PARTITIONS), "INSESSION_TOPICS__REPLICATION": "1"}

    def start(self, *options: str, given: str = "") -> subprocess.Popen[str]:
        """Start it with this on its standard input."""
        process = subprocess.Popen(
            [COMMAND, "erase", *options, *self._options],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(given)
        process.stdin.close()
        process.stdin = None
        return process

    def run(self, *options: str, given: str = "") -> Any:
        """Run it and read its report."""
        return self.end(self.start(*options, given=given))

    @staticmethod
    def end(process: subprocess.Popen[str]) -> Any:
        """Read the report when it has ended well; nothing that it prints names an id."""
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        assert not any(one.decode() in out + err for one in BOTH)
        return json.loads(out)


class Found:
    """Where a deployment names the ids."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.changelog = changelog_name(deployment.settings.kafka, deployment.settings.topics)

    def name(self, topic: Topic) -> str:
        """Return a topic's full name."""
        return self._deployment.settings.topics.name(topic)

    def records(self, topic: Topic | str) -> list[LoggedRecord]:
        """Return the records of a topic that do."""
        read = self._deployment.reader.read(self.name(topic) if isinstance(topic, Topic) else topic)
        parts = ((one, [one.key or b"", one.value or b"", repr(one.headers).encode()]) for one in read)
        return [record for record, parts in parts if any(one in part for one in BOTH for part in parts)]

    def states(self) -> dict[tuple[int, bytes], VisitorState]:
        """Return every state that there is now, of whomever."""
        latest = last_values(self._deployment.reader.read(self.changelog))
        return {(part, key): decode_state(value) for (part, key), value in latest.items() if not is_mark(key)}

    def statuses(self) -> list[str]:
        """Return what was answered to them."""
        records = self.records(Topic.RECOMMENDATIONS)
        return [wire.decode_recommendation_set(one.value).status for one in records if one.value is not None]

    @staticmethod
    def files(folder: Path) -> list[str]:
        """Return the files that do."""
        content = [(path, path.read_bytes()) for path in folder.rglob("*") if path.is_file()]
        return [str(path) for path, written in content if any(one in written for one in BOTH)]


def places(report: Any) -> dict[str, Any]:
    """Return the rows of a report by place."""
    return {place["place"]: place for place in report["places"]}


def started(deployment: Deployment) -> list[WorkerProcess]:
    """Start two workers."""
    return [deployment.worker(name) for name in ("a", "b")]


def shop(deployment: Deployment, workers: Sequence[WorkerProcess]) -> None:
    """Let the visitor shop, and wait until all is done that follows from it."""
    for worker in workers:
        worker.wait_until_ready()
    deployment.write(Topic.CLICKSTREAM, shopping())
    for _ in range(3):
        deployment.wait_until_committed(workers[0])


def erased_over_a_crash(deployment: Deployment, workers: Sequence[WorkerProcess], control: str) -> Any:
    """Ask for the erasure by standard input and kill the owners before they read it; gives the report."""
    for worker in workers:
        worker.send(signal.SIGSTOP)
    asked = sum(deployment.reader.end_offsets(control).values()) + len(BOTH) * PARTITIONS
    erasing = Command(deployment).start("-", "--yes", given=f"{VISITOR}\n")
    while sum(deployment.reader.end_offsets(control).values()) < asked:
        assert erasing.poll() is None, Command.end(erasing)
    for worker in workers:
        assert worker.end(signal.SIGKILL) == -signal.SIGKILL
    deployment.worker("a")  # alone, so that each partition stays with the one that erases in it
    return Command.end(erasing)


def compact(deployment: Deployment, topics: Sequence[str], is_clean: Callable[[str], bool]) -> None:
    """Let the brokers compact topics at once, while others click, which closes segments, until they are clean."""
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in COMPACT_AT_ONCE.items()
    ]
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries) for topic in topics]
    for future in deployment.admin.incremental_alter_configs(resources).values():
        future.result()
    while not all(is_clean(topic) for topic in topics):  # pytest's timeout bounds this
        deployment.write(Topic.CLICKSTREAM, [click(f"{OTHER}-{number}") for number in range(40)])


def compacted_copies(deployment: Deployment, workers: Sequence[WorkerProcess]) -> list[Path]:
    """Return the copies that their owners have compacted since; what owners before them have left goes after a day."""
    copies: list[Path] = []
    for partition in range(PARTITIONS):
        line = f'"partition": {partition}'
        told = '"partition_compacted"'

        def owner(line: str = line, told: str = told) -> WorkerProcess | None:
            lines = ((worker, one) for worker in workers for one in worker.log_text().splitlines())
            return next((worker for worker, one in lines if line in one and told in one), None)

        workers[0].wait_until(lambda: owner() is not None, f"partition {partition} is compacted")
        found = owner()
        assert found is not None
        copies += found.datadir.rglob(f"visitors-{partition}.db")
    assert len(copies) == PARTITIONS, deployment.folder
    return copies


def test_nothing_names_an_erased_visitor_but_what_the_report_says(deploy: Deploy) -> None:
    """State, changelog, compacted outputs, control topic, files and logs are clean, though the owners are killed."""
    deployment = deploy(partitions=PARTITIONS)
    found, workers = Found(deployment), started(deployment)
    shop(deployment, workers)
    before = places(Command(deployment).run(VISITOR, "--dry-run"))
    outputs = [found.name(topic) for topic in (Topic.RECOMMENDATIONS, Topic.INTENT_SIGNALS, Topic.OUTCOMES)]
    assert all(before[topic]["found"] == len(found.records(topic)) > 0 for topic in outputs)
    assert [before[found.name(topic)]["found"] for topic in (Topic.DEAD_LETTERS, Topic.SESSION_ENDS)] == [1, 1]
    assert before[found.changelog]["done"] == "nothing: 2 states of 2 ids"
    assert found.files(deployment.folder)

    report = erased_over_a_crash(deployment, workers, found.name(Topic.SESSION_CONTROL))
    workers = deployment.workers()[-1:]
    after = places(report)
    assert (report["ids"], report["linked_ids"], report["is_erased"]) == (1, 1, True)
    assert [after[topic]["done"] for topic in outputs] == ["2 tombstones", "2 tombstones", "nothing"]
    assert (after[found.name(Topic.SESSION_CONTROL)]["remains"], found.records(Topic.SESSION_CONTROL)) == (0, [])
    assert [after[found.name(topic)]["remains"] for topic in (Topic.DEAD_LETTERS, Topic.SESSION_ENDS)] == [1, 1]
    assert all(after[found.name(topic)]["until"] > rfc3339(time.time_ns() // 1_000_000) for topic in KEPT)

    compact(deployment, [found.changelog, *outputs[:2]], lambda topic: found.records(topic) == [])
    assert [found.files(copy) for copy in compacted_copies(deployment, workers)] == [[], []]
    letters = places(Command(deployment).run(VISITOR, "--yes", "--delete-dead-letters"))[found.name(Topic.DEAD_LETTERS)]
    assert (letters["found"], letters["remains"], found.records(Topic.DEAD_LETTERS)) == (1, 0, [])
    logs = b"".join(log.read_bytes() for log in deployment.folder.glob("*.log"))
    assert (b"visitor_erased" in logs, [one for one in BOTH if one in logs]) == (True, [])


def test_clicks_of_an_erased_visitor_are_answered_and_build_nothing(deploy: Deploy) -> None:
    """From the backlog, a late producer, or in what others say; also after the owners were killed."""
    deployment = deploy(partitions=PARTITIONS)
    found, workers = Found(deployment), started(deployment)
    shop(deployment, workers)
    Command(deployment).run(VISITOR, "--yes")
    answered = len(found.statuses())
    again = [click(VISITOR), click(COOKIE), click(VISITOR, anonymous_id=COOKIE), click(OTHER, anonymous_id=COOKIE)]
    for _ in range(2):
        deployment.write(Topic.CLICKSTREAM, again)
        deployment.wait_until_committed(workers[0])
        for worker in workers:
            assert worker.end(signal.SIGKILL) == -signal.SIGKILL
        workers = started(deployment)
        for worker in workers:
            worker.wait_until_ready()
    for _ in range(2):
        deployment.wait_until_committed(workers[0])
    later = found.statuses()[answered:]
    assert len(later) >= 6
    assert sorted(later) == ["no_consent"] * len(later)
    states = found.states()
    assert [key for _, key in states if key in BOTH] == []
    assert {state.identity for (_, key), state in states.items() if key == OTHER.encode()} == {None}
    assert sum(is_block_key(key) for _, key in states) == len(BOTH) * PARTITIONS
    assert set(found.statuses()[:answered]) >= {"answered", "ended"}


def test_without_a_worker_the_request_waits_and_is_carried_out_by_the_next_one(deploy: Deploy) -> None:
    """The command says so and fails; once a worker runs, the same command comes to its end."""
    deployment = deploy(partitions=PARTITIONS)
    found, worker = Found(deployment), deployment.worker()
    shop(deployment, [worker])
    assert worker.end(signal.SIGTERM) == 0
    waiting = Command(deployment).start("--from-file", "-", "--yes", given=f"{COOKIE}\n")
    _, told = waiting.communicate(timeout=60)
    assert (waiting.returncode, "no worker of group" in told) == (1, True)
    deployment.worker().wait_until_ready()
    report = Command(deployment).run(COOKIE, "--yes")
    assert (report["ids"], report["linked_ids"]) == (1, 1)
    assert [key for _, key in found.states() if key in BOTH] == []


def test_one_of_two_customers_on_a_device_is_erased_and_the_other_stays(deploy: Deploy) -> None:
    """What the state of the other one says of the cookie is theirs; the report tells it, and the topics are cleaned."""
    deployment = deploy(partitions=PARTITIONS)
    found, worker = Found(deployment), deployment.worker()
    worker.wait_until_ready()
    for one in (click(COOKIE), click(VISITOR, anonymous_id=COOKIE), click(SIBLING, anonymous_id=COOKIE)):
        deployment.write(Topic.CLICKSTREAM, [one])
        for _ in range(3):
            deployment.wait_until_committed(worker)
    report = Command(deployment).run(VISITOR, "--yes")
    rows = places(report)
    assert (report["linked_ids"], report["is_erased"]) == (1, True)
    assert "1 states of other visitors name an id of these" in rows[found.changelog]["note"]
    assert rows[found.name(Topic.RECOMMENDATIONS)]["done"] == "2 tombstones"
    assert rows[found.name(Topic.SESSION_CONTROL)]["remains"] == 0
    assert {key for _, key in found.states() if not is_block_key(key)} == {SIBLING.encode()}
