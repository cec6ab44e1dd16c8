"""Which visitors' states there are of given ids, and which other ids they are known to be the same person as."""

import re
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from schemas.ids import VisitorId
from schemas.state import StateVersionError, UnreadableStateError, VisitorState, decode_state, visitor_of
from streams.records import InputRecord
from streams.state.fencing import ChangelogFences
from streams.state.id_search import IdSearch

Became = AbstractSet[tuple[VisitorId, VisitorId]]
"""Pairs of an earlier id and the later one under which its sessions go on."""


@dataclass(slots=True)
class StateSurvey:
    """What a changelog says.

    records: that name one of the ids, tombstones included. states: of the ids, that are there now, by partition and id.
    whole: the ids asked for, and those that they became. earlier: ids that became one of these. An erasure takes all.
    others: how many states of other visitors say that they were one of the ids, as after a login on the same device.
    """

    whole: set[VisitorId]
    earlier: set[VisitorId] = field(default_factory=set)
    records: int = 0
    states: set[tuple[int, VisitorId]] = field(default_factory=set)
    others: int = 0

    @property
    def ids(self) -> set[VisitorId]:
        """Return every id that is to be erased."""
        return self.whole | self.earlier


def survey(
    asked: Iterable[VisitorId],
    read: Callable[[], Iterable[InputRecord]],
    handed_over: Callable[[], Iterable[tuple[VisitorId, VisitorId]]] = tuple,
) -> StateSurvey:
    """Read a changelog, again for as long as states lead to further ids.

    handed_over: reads what control records say; a run before this one may have erased the state that said it.
    """
    found = StateSurvey(set(asked))
    while True:
        ids = found.ids
        became = _surveyed(found, read()) | _naming(ids, handed_over())
        reach(found.whole, became, is_forward=True)
        found.earlier |= found.whole
        reach(found.earlier, became, is_forward=False)
        found.earlier -= found.whole
        if found.ids == ids:
            return found


def surveyed_again(found: StateSurvey, records: Iterable[InputRecord]) -> StateSurvey:
    """Read what a changelog says of the same ids now; what others share with them leads to nobody else."""
    left = StateSurvey(set(found.whole), set(found.earlier))
    _surveyed(left, records)
    return left


def reach(ids: set[VisitorId], became: Became, *, is_forward: bool) -> None:
    """Add the ids that these became, or that became these.

    One way at a time: who was a cookie shares it with all who log in on that device, and is none of them.
    """
    while new := {
        to for pair in became for frm, to in [pair if is_forward else pair[::-1]] if frm in ids and to not in ids
    }:
        ids |= new


def became_of(visitor_id: VisitorId, state: VisitorState) -> Became:
    """Return what a state says of the ids of its visitor."""
    later = {closed.move.to for closed in state.closings if closed.move is not None}
    earlier: set[VisitorId] = set()
    if state.identity is not None:
        earlier |= {one.visitor_id for one in state.identity.predecessors}
        later |= {one.to for one in state.identity.successors}
    return {(one, visitor_id) for one in earlier} | {(visitor_id, one) for one in later}


def _surveyed(found: StateSurvey, records: Iterable[InputRecord]) -> Became:
    """Count what names the ids, and give what the states say of them; a mark that is left alone counts as a state.

    Of each state no more is kept than what it says of the ids: an id may be a word that stands in every state.
    """
    ids = found.ids
    search, fences, pairs_of = IdSearch(ids), ChangelogFences(), dict[tuple[int, bytes], Became]()
    bare = re.compile(b"|".join(re.escape(one.encode()) for one in sorted(ids)))  # in a state any byte may follow an id
    found.records = 0
    for record in records:
        found.records += search.names(record)
        if not fences.keeps(record.position.partition, record.key, record.headers) or record.key is None:
            continue
        place, visitor_id = (record.position.partition, record.key), _visitor(record.key)
        pairs: Became = frozenset()
        if record.value is not None and visitor_id is not None and (visitor_id in ids or bare.search(record.value)):
            state = _state(record.value)
            pairs = frozenset() if state is None else _naming(ids, became_of(visitor_id, state))
        if pairs or (record.value is not None and visitor_id in ids):
            pairs_of[place] = pairs
        else:
            pairs_of.pop(place, None)
    places = {(partition, _visitor(key)) for partition, key in pairs_of}
    found.states = {(partition, visitor_id) for partition, visitor_id in places if visitor_id in ids and visitor_id}
    found.others = len(places) - len(found.states)
    return frozenset().union(*pairs_of.values())


def _naming(ids: AbstractSet[VisitorId], became: Iterable[tuple[VisitorId, VisitorId]]) -> Became:
    return frozenset(pair for pair in became if not ids.isdisjoint(pair))


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
