"""Which visitors' states there are of given ids, and which other ids they are known to be the same person as."""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from schemas.ids import VisitorId
from schemas.state import StateVersionError, UnreadableStateError, VisitorState, decode_state, visitor_of
from streams.dead_letters import InputRecord
from streams.fencing import ChangelogFences
from streams.id_search import IdSearch

Became = AbstractSet[tuple[VisitorId, VisitorId]]
"""Pairs of an earlier id and the later one under which its sessions go on."""


@dataclass(slots=True)
class StateSurvey:
    """What a changelog says.

    records: that name one of the ids, tombstones included. states: of the ids, that are there now, by partition and id.
    whole: the ids asked for, and those that they became. earlier: ids that became one of these. An erasure takes all.
    """

    whole: set[VisitorId]
    earlier: set[VisitorId] = field(default_factory=set)
    records: int = 0
    states: set[tuple[int, VisitorId]] = field(default_factory=set)

    @property
    def ids(self) -> set[VisitorId]:
        """Give every id that is to be erased."""
        return self.whole | self.earlier


def survey(
    asked: Iterable[VisitorId], read: Callable[[], Iterable[InputRecord]], handed_over: Became = frozenset()
) -> StateSurvey:
    """Read a changelog, again for as long as states lead to further ids.

    handed_over: what control records say; a run before this one may have erased the state that said it.
    """
    found = StateSurvey(set(asked))
    while True:
        ids, became = found.ids, _surveyed(found, read()) | handed_over
        reach(found.whole, became, is_forward=True)
        found.earlier |= found.whole
        reach(found.earlier, became, is_forward=False)
        found.earlier -= found.whole
        if found.ids == ids:
            return found


def reach(ids: set[VisitorId], became: Became, *, is_forward: bool) -> None:
    """Add the ids that these became, or that became these.

    One way at a time: who was a cookie shares it with all who log in on that device, and is none of them.
    """
    while new := {
        to for pair in became for frm, to in [pair if is_forward else pair[::-1]] if frm in ids and to not in ids
    }:
        ids |= new


def became_of(visitor_id: VisitorId, state: VisitorState) -> Became:
    """Tell what a state says of the ids of its visitor."""
    later = {closed.move.to for closed in state.closings if closed.move is not None}
    earlier: set[VisitorId] = set()
    if state.identity is not None:
        earlier |= {one.visitor_id for one in state.identity.predecessors}
        later |= {one.to for one in state.identity.successors}
    return {(one, visitor_id) for one in earlier} | {(visitor_id, one) for one in later}


def _surveyed(found: StateSurvey, records: Iterable[InputRecord]) -> Became:
    """Count what names the ids, and give what the states say of them; a mark that is left alone counts as a state."""
    ids = found.ids
    search, fences, values = IdSearch(ids), ChangelogFences(), dict[tuple[int, bytes], bytes]()
    found.records = 0
    for record in records:
        is_named = search.names(record)
        found.records += is_named
        if not fences.keeps(record.position.partition, record.key, record.headers) or record.key is None:
            continue
        place = (record.position.partition, record.key)
        if is_named and record.value is not None:
            values[place] = record.value
        else:
            values.pop(place, None)
    named = [(partition, _visitor(key), value) for (partition, key), value in values.items()]
    found.states = {(partition, visitor_id) for partition, visitor_id, _ in named if visitor_id in ids and visitor_id}
    became: set[tuple[VisitorId, VisitorId]] = set()
    for _, visitor_id, value in named:
        state = _state(value)
        if visitor_id is not None and state is not None:
            became |= became_of(visitor_id, state)
    return became


def _visitor(key: bytes) -> VisitorId | None:
    try:
        return VisitorId(visitor_of(key).decode())
    except UnicodeDecodeError:
        return None


def _state(value: bytes) -> VisitorState | None:
    """Decode a state; one that cannot be read is erased all the same, by its key."""
    try:
        return decode_state(value)
    except (UnreadableStateError, StateVersionError):
        return None
