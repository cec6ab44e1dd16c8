"""What must hold at the end of every run, whatever has happened in it."""

from collections.abc import Sequence
from dataclasses import dataclass

from faust.types import TP

from agents.settings import Settings
from schemas import wire
from streams.cluster.topics import VISITORS, Topic
from streams.state.fencing import visible
from tests.kafka.ledger import Ledger, different, error_headers
from tests.kafka.topic_log import LoggedRecord
from tests.kafka.undisturbed import StateKey, whole_states
from tests.simulation.broker import Broker
from tests.simulation.worker import Host

_OFFSET_KEY = b"__faust\0offset__"


@dataclass(frozen=True, slots=True)
class Books:
    """What a run left behind. is_orderly: nothing happened after which a record may come twice."""

    settings: Settings
    broker: Broker
    hosts: Sequence[Host]
    is_orderly: bool


class LogReader:
    """Reads the simulated topics as `TopicReader` reads real ones."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def read(self, topic: str) -> list[LoggedRecord]:
        """Read a whole topic, in offset order of each partition."""
        return [
            LoggedRecord(number, entry.offset, entry.key, entry.value, entry.time_ms, entry.headers)
            for number in range(self._broker.partitions)
            for entry in self._broker.logs[TP(topic, number)].records()
        ]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong, and what is counted."""

    problems: list[str]
    events: int
    duplicates: int


def check(books: Books) -> Verdict:
    """Return what is wrong."""
    ledger = Ledger(books.settings, LogReader(books.broker))  # type: ignore[arg-type]
    findings = ledger.check()
    problems = []
    try:
        findings.assert_clean()
    except AssertionError as error:
        problems.append(str(error).splitlines()[0])
    problems += _commits_ahead(books, ledger)
    problems += _wrong_tables(books, ledger)
    if books.is_orderly and findings.duplicates:
        problems.append(f"{findings.duplicates} records came twice, though every worker left in order")
    return Verdict(problems, findings.inputs, findings.duplicates)


def _commits_ahead(books: Books, ledger: Ledger) -> list[str]:
    """Return the first commit that came before the records of an input that it covers."""
    broker, topics = books.broker, books.settings.topics
    due = {*ledger.expected.statuses, *ledger.expected.rejections}
    answered: dict[str, int] = {}
    for topic, number, entry in broker.in_order(topics.name(Topic.RECOMMENDATIONS), topics.name(Topic.DEAD_LETTERS)):
        if topic == topics.name(Topic.RECOMMENDATIONS):
            record_id = wire.decode_recommendation_set(entry.value or b"").id
        else:
            letter = LoggedRecord(0, entry.offset, entry.key, entry.value, entry.time_ms, entry.headers)
            record_id = error_headers(letter)["id"]
        answered.setdefault(record_id, number)
    for commit in broker.commits:
        name = f"{commit.tp.topic}-{commit.tp.partition}"
        covered = (entry.offset for entry in broker.logs[commit.tp].records() if entry.offset < commit.offset)
        for record_id in (f"{name}-{offset}" for offset in covered):
            if record_id in due and answered.get(record_id, 0) > commit.appended:
                return [f"{name} was committed up to {commit.offset} before {record_id} was answered"]
    return []


def _wrong_tables(books: Books, ledger: Ledger) -> list[str]:
    """Return the hosts whose local tables are unlike the undisturbed run's, of the partitions that are theirs now."""
    problems = []
    for host in books.hosts:
        if host.app is None or not host.is_running:
            continue
        actives = {tp.partition for tp in host.app.assignor.assigned_actives()}
        found: dict[StateKey, bytes] = {}
        for path, database in host.disk.databases.items():
            partition = int(path.rsplit(f"{VISITORS}-", 1)[1].removesuffix(".db"))
            if partition in actives:
                stored = {(partition, key): value for key, value in visible(database.items()) if key != _OFFSET_KEY}
                found |= whole_states(stored)
        expected = {key: value for key, value in ledger.expected.states.items() if key[0] in actives}
        if wrong := different(expected, found):
            problems.append(f"local tables of {host.name}: {len(wrong)} states wrong, first {wrong[:3]}")
    return problems
