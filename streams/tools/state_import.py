"""Takes a mirrored or restored changelog as the state of a group, and lets the group begin on its inputs where it ends.

The inputs may lie on another cluster than those that the state was made from: then their offsets mean nothing. Those
that the state keeps with the id of their topic are void by themselves (docs/adr/0009); those without an id are marked
here. Where to begin is told by the records' timestamps, which a mirror keeps.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec.structs import replace

from schemas.state import (
    FORMER_TOPIC_ID,
    InputPosition,
    VisitorState,
    decode_state,
    encode_state,
    is_mark,
    read_header,
)
from streams.cluster.group_commits import GroupCommits
from streams.cluster.topic_reader import TopicReader
from streams.records import OutputRecord
from streams.state.copies import StateCopies
from streams.tools.sender import Sender

_TOLD_EVERY: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRoute:
    """From which changelog to which, by full topic names; both have as many partitions as every input.

    margin_ms: the group begins so far before the latest record that the state has applied; what it applied of that
    time comes twice, and what it had not applied yet, since clocks differ and clicks come out of order, is not lost.
    """

    source: str
    target: str
    group: str
    clickstreams: Sequence[str]
    control: str
    margin_ms: int


@dataclass(slots=True)
class Imported:
    """What was done. begins: by input topic and partition the offset committed, where there was no commit."""

    states: int = 0
    voided: int = 0
    begins: dict[str, dict[int, int]] = field(default_factory=dict)


def with_former_topics(state: VisitorState) -> VisitorState:
    """Mark as of a former topic whatever is not known to be of one: offsets, causes of closings, adoptions."""
    ids = (*state.topic_ids, *(0 for _ in range(len(state.offsets) - len(state.topic_ids))))
    closings = tuple(
        replace(closed, cause=_former(closed.cause), again=None if closed.again is None else _former(closed.again))
        for closed in state.closings
    )
    identity = state.identity
    if identity is not None:
        adopted = {
            source if "@" in source else f"{source}@{FORMER_TOPIC_ID:x}": offset
            for source, offset in identity.adopted.items()
        }
        identity = replace(identity, adopted=adopted)
    return replace(
        state,
        topic_ids=tuple(topic_id or FORMER_TOPIC_ID for topic_id in ids),
        closings=closings,
        counted=tuple(replace(one, position=_former(one.position)) for one in state.counted),
        identity=identity,
    )


def import_state(
    client_config: Mapping[str, Any],
    route: ImportRoute,
    total: Callable[[int], None],
    advance: Callable[[int], None],
) -> Imported:
    """Carry an import out; the group must have no member. Safe to run again: the commits come last.

    Raises TopicsError where the brokers do not answer, SendError where they refuse a record, StateVersionError for a
    state of a newer version.
    """
    imported, latest = Imported(), _Latest(route.clickstreams)
    with TopicReader(client_config) as reader, StateCopies() as copies:
        bounds = reader.bounds(route.source)
        total(sum(map(len, bounds.values())))
        copies.load(reader, route.source, bounds, advance)
        sender = Sender(client_config, client_id="insession-state-import")
        _forget_others(reader, sender, route, copies)
        for partition in bounds:
            for key, value in copies.items(partition):
                state = decode_state(value)
                latest.see(partition, state)
                marked = with_former_topics(state)
                imported.states += 1
                imported.voided += marked != state
                if marked == state and route.source == route.target:
                    continue
                header = read_header(value)
                content = encode_state(marked, due_ms=header.due_ms, is_quiet=header.is_quiet)
                sender.send(OutputRecord(route.target, key, content, partition=partition))
        sender.flush()
        for topic in (*route.clickstreams, route.control):
            imported.begins[topic] = _begins(reader, topic, latest, route.margin_ms)
    with GroupCommits(client_config, route.group) as commits:
        for topic, begins in imported.begins.items():
            known = commits.of(topic, begins)  # a mirror's own translation stays
            imported.begins[topic] = {partition: begin for partition, begin in begins.items() if partition not in known}
            commits.write(topic, imported.begins[topic])
    return imported


def _forget_others(reader: TopicReader, sender: Sender, route: ImportRoute, copies: StateCopies) -> None:
    """Remove what an earlier run has imported and the source does not have any more: it may have been erased."""
    if route.source == route.target:
        return
    for record in reader.read(route.target, reader.bounds(route.target)):
        key, partition = record.key, record.position.partition
        if key is None or record.value is None:
            continue
        if is_mark(key) or copies.get(partition, key) is None:  # a mark is put into its state
            sender.send(OutputRecord(route.target, key, None, partition=partition))


class _Latest:
    """The timestamp of the latest record that the states of a partition have applied, by clickstream."""

    def __init__(self, clickstreams: Sequence[str]) -> None:
        self._clickstreams = clickstreams
        self._times_ms: dict[tuple[str, int], int] = {}

    def see(self, partition: int, state: VisitorState) -> None:
        """Take in a state, whose latest event is of its last topic."""
        known = [topic for topic in state.offsets if topic in self._clickstreams]
        for topic in [state.last_topic] if state.last_topic else known:
            time_ms = state.latest_ms + state.clock_lag_ms
            self._times_ms[topic, partition] = max(time_ms, self._times_ms.get((topic, partition), 0))

    def time_ms(self, topic: str, partition: int) -> int:
        """Return it; of session-control, that of the clickstream that is behind most. 0 = there is none."""
        if topic in self._clickstreams:
            return self._times_ms.get((topic, partition), 0)
        return min((time for (_, one), time in self._times_ms.items() if one == partition), default=0)


def _begins(reader: TopicReader, topic: str, latest: _Latest, margin_ms: int) -> dict[int, int]:
    begins = {}
    for partition in reader.bounds(topic):
        since_ms = max(0, latest.time_ms(topic, partition) - margin_ms)
        begins[partition] = reader.offsets_since(topic, since_ms)[partition].start
    return begins


def _former(position: InputPosition) -> InputPosition:
    return position if position.topic_id else replace(position, topic_id=FORMER_TOPIC_ID)
