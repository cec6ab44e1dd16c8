"""The control records that workers write to each other where a shopper has two ids."""

from dataclasses import dataclass

from msgspec.structs import replace

from schemas import wire
from schemas.events import Erase
from schemas.handovers import Control
from schemas.ids import VisitorId
from schemas.state import InputPosition, VisitorState
from streams.cluster.partitioner import murmur2_partition
from streams.cluster.topics import Topic, TopicSettings
from streams.records import OutputRecord
from streams.sessions.identity import Joined, adoptions, erasures


@dataclass(frozen=True, slots=True)
class IdentityRecords:
    """Makes the records and finds their partitions."""

    topics: TopicSettings

    def of(self, visitor_id: VisitorId, joined: Joined) -> list[OutputRecord]:
        """Return the handovers and adoptions that an input of this visitor causes."""
        records = [self._to_id(handover, handover.visitor_id) for handover in joined.handovers]
        for move, adoption in adoptions(visitor_id, joined.state, joined.closings):
            records.append(self._to(adoption, move.partition))
        return records

    def forgetting(
        self, state: VisitorState | None, visitor_id: VisitorId, position: InputPosition
    ) -> list[OutputRecord]:
        """Return the erasure by which a visitor without consent is forgotten under every id; none = no other."""
        if state is None or state.identity is None or not state.identity.predecessors:
            return []
        return [self._to(Erase(visitor_id=visitor_id, reach="predecessors"), position.partition)]

    def erasing(self, state: VisitorState | None, erase: Erase, partition: int) -> list[OutputRecord]:
        """Return the erasures of a visitor's other ids, behind them the final one of the visitor; none = no others."""
        records = [
            self._to_id(other, other.visitor_id) if where is None else self._to(other, where)
            for other, where in erasures(state, erase)
        ]
        if records:
            records.append(self._to(replace(erase, reach="self"), partition))
        return records

    def _to_id(self, record: Control, visitor_id: VisitorId) -> OutputRecord:
        return self._to(record, murmur2_partition(visitor_id.encode(), self.topics.partitions))

    def _to(self, record: Control, partition: int) -> OutputRecord:
        return OutputRecord(self.topics.name(Topic.SESSION_CONTROL), None, wire.encode(record), partition=partition)
