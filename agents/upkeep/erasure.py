"""Erases visitors: asks the owners of the states by session-control, waits for them, and cleans the topics after them.

A state belongs to the worker that has its partition, so nobody else removes it. The request is a record on every
partition of session-control: it outlives workers and this command, and is carried out by whoever has the partition
then. What workers pass on to each other for further ids of the same person is waited for, too.
"""

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from agents.settings import Settings
from agents.upkeep.erasure_report import Place, elsewhere, kept, of_control, of_dead_letters, of_state, tombstoned
from agents.upkeep.job_progress import JobProgress
from schemas import wire
from schemas.errors import InsessionError
from schemas.events import Erase, Reach
from schemas.handovers import Adoption, Control, Handover
from schemas.ids import VisitorId
from schemas.pseudonym import pseudonym
from streams.cluster.group_state import GroupState, group_state
from streams.cluster.record_deletion import delete_before
from streams.cluster.topic_check import described
from streams.cluster.topic_lifetime import TopicLifetime
from streams.cluster.topic_reader import TopicReader
from streams.cluster.topics import TOPICS, Topic, TopicsError, admin_client, app_id, changelog_name
from streams.records import InputRecord, OutputRecord
from streams.state.id_search import Found, IdSearch
from streams.state.search import StateSurvey, survey, surveyed_again
from streams.tools.sender import Sender

_LOOK_SECONDS: Final = 0.5
_TOLD_EVERY: Final = 1000
_OUTPUTS: Final = tuple(topic for topic, facts in TOPICS.items() if facts.names_visitors)
"""Whose keys are visitors. Those of default-recommendations are places, also where a visitor is called like one."""


class NotErasedError(InsessionError):
    """The states are not erased yet; the request waits where the workers read it."""


class Erasure:
    """One run for some ids, within a `with` block. Safe to run again after whatever ended it.

    Raises TopicsError where the brokers do not answer, SendError where they refuse a record.
    """

    def __init__(self, settings: Settings, progress: JobProgress) -> None:
        config = settings.kafka.client_config()
        self._settings, self._progress = settings, progress
        self._reader = TopicReader(config)
        self._admin = admin_client(config)
        self._sender = Sender(config, client_id="insession-erase")
        self._changelog = changelog_name(settings.kafka, settings.topics)
        self._control = settings.topics.name(Topic.SESSION_CONTROL)
        self._group = app_id(settings.kafka, settings.topics)
        self._lifetimes: dict[str, TopicLifetime] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reader.__exit__(kind, error, traceback)

    def look(self, asked: Iterable[VisitorId]) -> StateSurvey:
        """Find the states of the ids, and the other ids of the same persons."""
        return survey(asked, lambda: self._records(self._changelog), self._handed_over)

    def request(self, found: StateSurvey, blocked_until_ms: int, timeout_seconds: float) -> set[VisitorId]:
        """Have the states erased and wait until all of them are; returns the ids that the workers have added.

        Raises NotErasedError where no worker runs, or they are not done in time.
        """
        request_id = secrets.token_hex(8)
        bounds = self._reader.bounds(self._control)
        seen_to = {partition: held.stop for partition, held in bounds.items()}
        for visitor_id, reach in _reaches(found):
            erase = Erase(visitor_id=visitor_id, reach=reach, blocked_until_ms=blocked_until_ms, request_id=request_id)
            for partition in bounds:
                self._sender.send(OutputRecord(self._control, None, wire.encode(erase), partition=partition))
        self._sender.flush()
        if not self._state(len(bounds)).members:
            raise NotErasedError(
                f"no worker of group {self._group} runs, so no state is erased yet. The request is in {self._control}: "
                "start the workers before its retention ends, and run this again, which waits and cleans the topics"
            )
        deadline = time.monotonic() + timeout_seconds
        erased = found.ids
        while True:
            ends = {partition: held.stop for partition, held in self._reader.bounds(self._control).items()}
            self._wait(ends, deadline)
            erasures = self._erasures(request_id, {part: range(seen_to[part], end) for part, end in ends.items()})
            if not erasures:
                return erased - found.ids
            erased, seen_to = erased | erasures, ends

    def clean(self, found: StateSurvey, blocked_until_ms: int, *, delete_dead_letters: bool) -> list[Place]:
        """Write the tombstones and delete what may be deleted, when the states are erased; returns the report.

        Raises NotErasedError where a state is there again before the block ends: its changelog has another writer, or
        a partition no owner. Without a block a click may have begun it anew.
        """
        left = surveyed_again(found, self._records(self._changelog))
        if left.states and _now_ms() < blocked_until_ms:
            raise NotErasedError(
                f"{len(left.states)} states are there again, on partitions {sorted({part for part, _ in left.states})} "
                f"of {self._changelog}: does every worker run this version, and this group only? Run this again"
            )
        now_ms = _now_ms()
        places = [of_state(self._changelog, found, left, self._lifetime(self._changelog), now_ms)]
        for name in map(self._settings.topics.name, _OUTPUTS):
            seen = self._search(name, found.ids)
            places.append(tombstoned(name, seen, self._lifetime(name), now_ms, count=self._tombstones(name, seen)))
        self._sender.flush()
        places.append(self._clean_dead_letters(found.ids, is_deleted=delete_dead_letters))
        places.append(self._clean_control(found.ids))
        return [*places, *self._left_alone(found.ids), *elsewhere()]

    def report(self, found: StateSurvey) -> list[Place]:
        """Return where the ids stand, and change nothing."""
        places = [of_state(self._changelog, found, found, self._lifetime(self._changelog), None)]
        names = [self._settings.topics.name(one) for one in (*_OUTPUTS, Topic.DEAD_LETTERS, Topic.SESSION_CONTROL)]
        places += [kept(name, self._search(name, found.ids), self._lifetime(name)) for name in names]
        return [*places, *self._left_alone(found.ids), *elsewhere()]

    def _left_alone(self, ids: set[VisitorId]) -> Iterator[Place]:
        """Look at what is not ours to change, and at what only a pseudonym names."""
        secret = self._settings.clickstream.pseudonym_secret.reveal().encode()
        keys = {VisitorId(pseudonym(secret, visitor_id.encode())) for visitor_id in ids}
        ends = self._settings.topics.name(Topic.SESSION_ENDS)
        yield kept(ends, self._search(ends, keys), self._lifetime(ends), "by their keyed hash; the id is not in them")
        for name in self._settings.clickstreams:
            yield kept(name, self._search(name, ids), self._lifetime(name), "the shop's own topic")

    def _clean_dead_letters(self, ids: set[VisitorId], *, is_deleted: bool) -> Place:
        name = self._settings.topics.name(Topic.DEAD_LETTERS)
        found = self._search(name, ids)
        if not is_deleted or not found.ends:
            return of_dead_letters(name, found, self._lifetime(name), deleted=None)
        held = self._reader.bounds(name)
        deleted = sum(max(0, end - held[partition].start) for partition, end in found.ends.items())
        delete_before(self._admin, name, found.ends)
        return of_dead_letters(name, found, self._lifetime(name), deleted=deleted)

    def _clean_control(self, ids: set[VisitorId]) -> Place:
        """Delete the requests and whatever else names the ids, as far as the workers have read it."""
        found = self._search(self._control, ids)
        committed = self._state(len(self._reader.bounds(self._control))).committed
        ends = {part: end for part, end in found.ends.items() if end <= committed.get(part, 0)}
        try:
            delete_before(self._admin, self._control, ends)
        except TopicsError as error:
            return of_control(self._control, found, found, self._lifetime(self._control), refused=str(error))
        left = self._search(self._control, ids)
        return of_control(self._control, found, left, self._lifetime(self._control), refused=None)

    def _tombstones(self, topic: str, found: Found) -> int:
        """Send one for each key of a compacted topic; returns how many."""
        lifetime = self._lifetime(topic)
        if lifetime is None or not lifetime.is_compacted:
            return 0
        records = [OutputRecord(topic, key, None, partition=part) for part, keys in found.keys.items() for key in keys]
        for record in records:
            self._sender.send(record)
        return len(records)

    def _wait(self, ends: Mapping[int, int], deadline: float) -> None:
        """Wait until the group has committed up to these offsets of session-control."""
        self._progress.begin("waiting for the owners of the partitions", len(ends))
        done = 0
        while True:
            state = self._state(len(ends))
            reached = sum(state.committed.get(partition, 0) >= end for partition, end in ends.items())
            self._progress.advance(reached - done)
            done = reached
            if done == len(ends):
                return
            if time.monotonic() > deadline:
                raise NotErasedError(
                    f"{len(ends) - done} of {len(ends)} partitions are not done in time ({state.members} workers, "
                    f"group {state.state}). The request stays in {self._control} and is carried out: run this again, "
                    "which waits and cleans the topics"
                )
            time.sleep(_LOOK_SECONDS)

    def _erasures(self, request_id: str, offsets: Mapping[int, range]) -> set[VisitorId]:
        """Return who is erased for this request by these records of session-control."""
        controls = self._controls(self._reader.read(self._control, offsets))
        erases = (control for control in controls if isinstance(control, Erase))
        return {erase.visitor_id for erase in erases if erase.request_id == request_id}

    def _handed_over(self) -> Iterator[tuple[VisitorId, VisitorId]]:
        """Read which ids became which."""
        for control in self._controls(self._records(self._control)):
            if isinstance(control, Handover):
                yield control.visitor_id, control.to
            elif isinstance(control, Adoption):
                yield control.predecessor, control.visitor_id

    @staticmethod
    def _controls(records: Iterable[InputRecord]) -> Iterator[Control]:
        for record in records:
            try:
                yield wire.decode_control(record.value or b"")
            except (ValueError, RecursionError):  # the workers have made a dead letter of it
                continue

    def _search(self, topic: str, ids: Iterable[VisitorId]) -> Found:
        return IdSearch(ids).found(self._records(topic))

    def _records(self, topic: str) -> Iterator[InputRecord]:
        """Read a whole topic."""
        bounds = self._reader.bounds(topic)
        self._progress.begin(f"reading {topic}", sum(map(len, bounds.values())))
        read = 0
        for read, record in enumerate(self._reader.read(topic, bounds), 1):
            if read % _TOLD_EVERY == 0:
                self._progress.advance(_TOLD_EVERY)
            yield record
        self._progress.advance(read % _TOLD_EVERY)

    def _state(self, partitions: int) -> GroupState:
        return group_state(self._admin, self._group, self._control, partitions)

    def _lifetime(self, topic: str) -> TopicLifetime | None:
        """Return how long a topic keeps records; None where the brokers hide it."""
        if topic not in self._lifetimes:
            configs = described(self._admin, [topic])[topic].configs
            if configs is None:
                return None
            self._lifetimes[topic] = TopicLifetime.of(configs)
        return self._lifetimes[topic]


def _reaches(found: StateSurvey) -> Sequence[tuple[VisitorId, Reach]]:
    """Return how far each erasure reaches; earlier ids first, for a state that names them goes last."""
    earlier: list[tuple[VisitorId, Reach]] = [(one, "predecessors") for one in sorted(found.earlier)]
    return [*earlier, *((one, "all") for one in sorted(found.whole))]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
