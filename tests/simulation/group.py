"""The consumer group as its coordinator keeps it (the classic protocol, KIP-62): members, generations, commits."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import errors
from faust.types import TP

from tests.simulation.loop import SimulatedLoop
from tests.simulation.trace import Trace


@dataclass(slots=True, eq=False)
class Member:
    """One member; joining, syncing: what answers its request, while one waits."""

    id: str
    metadata: Any = None
    heard_at: float = 0.0
    joining: "asyncio.Future[JoinedGroup] | None" = None
    syncing: "asyncio.Future[Any] | None" = None

    @property
    def is_waiting(self) -> bool:
        """Return whether a request of its has no answer yet: so long the coordinator takes it for alive."""
        return any(request is not None and not request.done() for request in (self.joining, self.syncing))


@dataclass(frozen=True, slots=True)
class JoinedGroup:
    """The answer to a join; members: their metadata, for the leader only."""

    generation: int
    member_id: str
    is_leader: bool
    members: Mapping[str, Any]


@dataclass(slots=True)
class Group:
    """One group. Its methods are requests; they raise what a coordinator answers, as aiokafka's errors."""

    loop: SimulatedLoop
    trace: Trace
    session_timeout: float
    rebalance_timeout: float
    generation: int = 0
    state: str = "empty"
    commits: dict[TP, int] = field(default_factory=dict)
    _members: dict[str, Member] = field(default_factory=dict)
    _named: int = 0
    _assignment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Count the members."""
        return len(self._members)

    def join(self, member_id: str | None, metadata: Any) -> "asyncio.Future[JoinedGroup]":
        """Join, or join again; answered when all members have, or the slow ones were given up."""
        if member_id is None:
            self._named += 1
            member_id = f"member-{self._named}"
            self._members[member_id] = Member(member_id)
        member = self._member(member_id)
        member.metadata, member.heard_at = metadata, self.loop.time()
        member.joining = self.loop.create_future()
        if self.state != "joining":
            self._begin_rebalance()
        self._look_if_all_joined()
        return member.joining

    def sync(self, member_id: str, generation: int, assignment: Mapping[str, Any] | None) -> "asyncio.Future[Any]":
        """Ask for the own assignment; the leader brings those of all."""
        member = self._member(member_id)
        self._check(generation)
        if self.state == "joining":
            raise errors.RebalanceInProgressError
        member.heard_at = self.loop.time()
        member.syncing = self.loop.create_future()
        if assignment is not None:
            self._assignment = assignment
            self.state = "stable"
        if self.state == "stable":
            for one in self._members.values():
                if one.syncing is not None and not one.syncing.done():
                    one.heard_at = self.loop.time()
                    one.syncing.set_result(self._assignment.get(one.id))
        return member.syncing

    def heartbeat(self, member_id: str, generation: int) -> None:
        """Note that a member lives."""
        member = self._member(member_id)
        self._check(generation)
        member.heard_at = self.loop.time()
        if self.state != "stable":
            raise errors.RebalanceInProgressError

    def leave(self, member_id: str) -> None:
        """Take a member out."""
        if self._members.pop(member_id, None) is not None:
            self._after_a_loss()

    def commit(self, member_id: str, generation: int, offsets: Mapping[TP, int]) -> None:
        """Take commits of a member of this generation."""
        member = self._member(member_id)
        self._check(generation)
        if self.state == "syncing":
            raise errors.RebalanceInProgressError
        member.heard_at = self.loop.time()
        self.commits.update(offsets)

    def expire(self) -> list[str]:
        """Take out the members that nobody has heard of; gives their ids. To be called now and then."""
        now = self.loop.time()
        gone = [
            member.id
            for member in self._members.values()
            if now - member.heard_at > self.session_timeout and not member.is_waiting
        ]
        for member_id in gone:
            del self._members[member_id]
        if gone:
            self._after_a_loss()
        return gone

    def _after_a_loss(self) -> None:
        if not self._members:
            self.state = "empty"
        elif self.state == "joining":
            self._look_if_all_joined()
        else:
            self._begin_rebalance()

    def _begin_rebalance(self) -> None:
        self.state = "joining"
        for member in self._members.values():
            if member.syncing is not None and not member.syncing.done():
                member.syncing.set_exception(errors.RebalanceInProgressError())
        self.loop.call_later(self.rebalance_timeout, self._give_up_on_slow_ones, self.generation)

    def _give_up_on_slow_ones(self, generation: int) -> None:
        if self.state == "joining" and self.generation == generation:
            self._members = {
                one.id: one for one in self._members.values() if one.joining is not None and not one.joining.done()
            }
            self._look_if_all_joined()

    def _look_if_all_joined(self) -> None:
        if not self._members or any(one.joining is None or one.joining.done() for one in self._members.values()):
            return
        self.generation += 1
        self.state = "syncing"
        self.trace.add("generation", self.generation, *self._members)
        leader = next(iter(self._members))
        members = {one.id: one.metadata for one in self._members.values()}
        for one in self._members.values():
            assert one.joining is not None
            one.heard_at = self.loop.time()
            is_leader = one.id == leader
            one.joining.set_result(JoinedGroup(self.generation, one.id, is_leader, members if is_leader else {}))

    def _member(self, member_id: str) -> Member:
        member = self._members.get(member_id)
        if member is None:
            raise errors.UnknownMemberIdError
        return member

    def _check(self, generation: int) -> None:
        if generation != self.generation:
            raise errors.IllegalGenerationError
