"""The books of a deployment: its topics and tables against an undisturbed run over the same clickstream."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from rocksdict import AccessType, Options, Rdict

from agents.settings import Settings
from schemas import wire
from schemas.records import CountedView, RecommendationOutcome, RecommendationSet, SessionSummary
from streams.cluster.topics import VISITORS, Topic, changelog_name
from streams.delivery.dead_letters import HEADER_PREFIX
from streams.state.fencing import ChangelogFences, visible
from tests.kafka.topic_log import LoggedRecord, TopicReader
from tests.kafka.undisturbed import StateKey, UndisturbedRun, undisturbed_run, whole_states

_OFFSET_KEY = b"__faust\0offset__"
"""Under which Faust keeps, in each local table, how far it has read the changelog."""

Key = TypeVar("Key", bound=str | StateKey)


@dataclass(slots=True)
class Findings:
    """What is wrong, as lists of ids that should all be empty, and what a human wants to see counted.

    duplicates: records beyond the first of an id; at least once allows them. replayed: of those, the ones that say so.
    unlike: ids whose copies differ in what they say of the input. counts: ids whose first copy counts something else
    for what is trending than the undisturbed run, or a later one neither the same nor nothing.
    """

    inputs: int = 0
    duplicates: int = 0
    replayed: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    session_ends: list[str] = field(default_factory=list)
    intents: list[str] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    changelog: list[StateKey] = field(default_factory=list)

    def assert_clean(self) -> None:
        """Fail where anything is lost, invented, in disorder or other than in the undisturbed run."""
        for name in (
            "lost",
            "unexpected",
            "unlike",
            "counts",
            "out_of_order",
            "session_ends",
            "intents",
            "outcomes",
            "changelog",
        ):
            wrong = getattr(self, name)
            assert not wrong, f"{name}: {len(wrong)} of {self.inputs}, first {wrong[:5]}"

    def __str__(self) -> str:
        return (
            f"{self.inputs} events: lost {len(self.lost)}, wrong states {len(self.changelog)}, wrong session ends "
            f"{len(self.session_ends)}, duplicates {self.duplicates} ({self.replayed} marked replayed); "
            f"{dict(self.statuses)}"
        )


class Ledger:
    """Reads everything that a deployment wrote; made when all input is committed."""

    def __init__(self, settings: Settings, reader: TopicReader) -> None:
        self._settings = settings
        self._reader = reader

    @cached_property
    def expected(self) -> UndisturbedRun:
        """What the same clickstream gives undisturbed."""
        return undisturbed_run(self._settings, self.records(Topic.CLICKSTREAM))

    @cached_property
    def recommendations(self) -> list[RecommendationSet]:
        """All answers, in offset order of each partition."""
        return [wire.decode_recommendation_set(_value(record)) for record in self.records(Topic.RECOMMENDATIONS)]

    def records(self, topic: Topic) -> list[LoggedRecord]:
        """Read a topic."""
        return self._reader.read(self._settings.topics.name(topic))

    def session_ends(self) -> list[SessionSummary]:
        """Read the session ends."""
        return [wire.decode_session_summary(_value(record)) for record in self.records(Topic.SESSION_ENDS)]

    def dead_letters(self) -> list[LoggedRecord]:
        """Read the dead letters."""
        return self.records(Topic.DEAD_LETTERS)

    def outcomes(self) -> list[RecommendationOutcome]:
        """Read the outcomes, the first of each id."""
        found: dict[str, RecommendationOutcome] = {}
        for record in self.records(Topic.OUTCOMES):
            outcome = wire.decode_recommendation_outcome(_value(record))
            found.setdefault(outcome.id, outcome)
        return list(found.values())

    def changelog(self) -> dict[StateKey, bytes]:
        """Return the last value of each key of the changelog, without what the session rules do not determine."""
        name = changelog_name(self._settings.kafka, self._settings.topics)
        return whole_states(last_values(self._reader.read(name)))

    def check(self) -> Findings:
        """Compare the topics with the undisturbed run."""
        expected = self.expected
        findings = Findings(inputs=len(expected.statuses) + len(expected.rejections))
        self._check_ids(findings)
        self._check_order(findings)
        self._check_session_ends(findings)
        # By the input, not by the answer: a worker that dies between an intent signal and its answer gives a later one.
        answered = {record_id for record_id, status in expected.statuses.items() if status == "answered"}
        intents = {wire.decode_intent_signal(_value(record)).id for record in self.records(Topic.INTENT_SIGNALS)}
        findings.intents = sorted(intents - answered)
        self._check_outcomes(findings, answered)
        findings.changelog = different(expected.states, self.changelog())
        return findings

    def unlike_local_tables(self, datadir: Path) -> list[StateKey]:
        """Return the states of a stopped worker's local tables that differ from the undisturbed run's."""
        found = local_tables(datadir, self._settings.topics.partitions)
        return different(self.expected.states, whole_states(found))

    def _check_ids(self, findings: Findings) -> None:
        """See that every input has its record: an answer of its status, or a dead letter of its reason."""
        expected = self.expected
        said: dict[str, list[str]] = {}
        for record in self.recommendations:
            said.setdefault(record.id, []).append(record.status)
        for letter in self.dead_letters():
            headers = error_headers(letter)
            said.setdefault(headers["id"], []).append(f"dead letter, {headers['reason']}")
        due: dict[str, str] = {record_id: f"dead letter, {reason}" for record_id, reason in expected.rejections.items()}
        due |= expected.statuses
        findings.lost = sorted(due.keys() - said.keys())
        findings.unexpected = sorted(said.keys() - due.keys())
        findings.unlike = [
            record_id for record_id, statuses in said.items() if not set(statuses) <= {due.get(record_id), "replayed"}
        ]
        counted: dict[str, list[list[CountedView]]] = {}
        for record in self.recommendations:
            counted.setdefault(record.id, []).append(record.counts)
        findings.counts = [
            record_id
            for record_id, (first, *further) in counted.items()
            if first != (due := expected.counts.get(record_id, [])) or any(again not in (due, []) for again in further)
        ]
        findings.duplicates = sum(len(statuses) - 1 for statuses in said.values())
        findings.replayed = sum(statuses.count("replayed") for statuses in said.values())
        findings.statuses = Counter(statuses[0] for statuses in said.values())

    def _check_order(self, findings: Findings) -> None:
        """See that the first copies of a visitor's answers come in the order of the clicks."""
        seen: set[str] = set()
        latest: dict[str, int] = {}
        for record in self.recommendations:
            offset = _offset(record.id)
            if record.id not in seen and offset < latest.get(record.visitor_id, -1):
                findings.out_of_order.append(record.id)
            seen.add(record.id)
            latest[record.visitor_id] = max(offset, latest.get(record.visitor_id, -1))

    def _check_session_ends(self, findings: Findings) -> None:
        """See that each session end is there and says what it should; copies of one are equal."""
        found: dict[str, SessionSummary] = {}
        for summary in self.session_ends():
            if found.setdefault(summary.id, summary) != summary:
                findings.session_ends.append(summary.id)
        findings.session_ends += different(self.expected.session_ends, found)

    def _check_outcomes(self, findings: Findings, answered: set[str]) -> None:
        """See that each outcome is of an answered click and names an earlier answer of the same visitor."""
        visitors = {record.id: record.visitor_id for record in self.recommendations}
        for outcome in self.outcomes():
            input_id = outcome.id if outcome.id in answered else outcome.id.rpartition("-")[0]  # of a further line
            if (
                input_id not in answered
                or visitors.get(outcome.recommendation_id) != outcome.visitor_id
                or _offset(outcome.recommendation_id) >= _offset(input_id)
            ):
                findings.outcomes.append(outcome.id)


def error_headers(letter: LoggedRecord) -> dict[str, str]:
    """Return the error headers of a dead letter without their prefix."""
    return {
        name.removeprefix(HEADER_PREFIX): content.decode()
        for name, content in letter.headers
        if name.startswith(HEADER_PREFIX)
    }


def last_values(records: Iterable[LoggedRecord]) -> dict[StateKey, bytes]:
    """Return the last value of each key of a changelog, as a recovery reads it; a tombstone removes it."""
    fences = ChangelogFences()
    kept = (record for record in records if fences.keeps(record.partition, record.key, record.headers))
    latest = {(record.partition, record.key or b""): record.value for record in kept}
    return {key: value for key, value in latest.items() if value is not None}


def local_tables(datadir: Path, partitions: int) -> dict[StateKey, bytes]:
    """Read the local tables of a stopped worker."""
    states: dict[StateKey, bytes] = {}
    for partition in range(partitions):
        path = datadir / "v1" / "tables" / f"{VISITORS}-{partition}.db"
        if not path.exists():
            continue
        database = Rdict(str(path), Options(raw_mode=True), access_type=AccessType.read_only())
        states |= {(partition, key): value for key, value in visible(database.items()) if key != _OFFSET_KEY}
        database.close()
    return states


def different(expected: Mapping[Key, Any], found: Mapping[Key, Any]) -> list[Key]:
    """Return what is missing, too much, or unlike."""
    return [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]


def _offset(record_id: str) -> int:
    return int(record_id.rsplit("-", 1)[1])


def _value(record: LoggedRecord) -> bytes:
    assert record.value is not None
    return record.value
