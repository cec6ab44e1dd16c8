"""Partitions without Kafka on which a shopper has two ids: each step is one that can happen there, a crash too."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

from schemas.events import ClickEvent
from schemas.handovers import Adoption, Handover
from schemas.ids import ItemId, VisitorId
from schemas.state import (
    ClosedSession,
    InputPosition,
    OpenSession,
    StoredVisitor,
    VisitorState,
    encode_mark,
    encode_state,
    mark_key,
    read_visitor,
)
from streams.sessions.identity import Identities, Joined, adoptions
from streams.sessions.rules import SessionRules
from streams.sessions.sessionizer import Arrival, InputTopics, Sessionizer

START_MS = 1_700_000_000_000
MINUTE_MS = 60_000
RULES = SessionRules(bot_burst_events=1000)
TOPICS = InputTopics("clicks", "control", clickstream_window=256, control_window=4)
COOKIE, CUSTOMER, OTHER = VisitorId("cookie"), VisitorId("customer"), VisitorId("other")
HOMES = {COOKIE: 0, CUSTOMER: 1, OTHER: 2}

Record = ClickEvent | Handover | Adoption


@dataclass(slots=True)
class Step:
    """An input on its way: what it writes, and what it sends once that is durable."""

    offset: int
    write: int | None
    records: list[Handover | Adoption]
    ends: list[tuple[str, ClosedSession]]
    is_write_first: bool
    is_sent: bool = False


@dataclass(frozen=True, slots=True)
class Input:
    """An input that was taken, and how many writes must be durable for it."""

    offset: int
    visitor_id: VisitorId
    write: int | None


@dataclass(slots=True)
class Partition:
    """Both inputs of one partition, its table, and the writes of which the changelog has the first `durable`."""

    number: int
    logs: dict[str, list[Record]] = field(default_factory=lambda: {"clicks": [], "control": []})
    positions: dict[str, int] = field(default_factory=lambda: {"clicks": 0, "control": 0})
    committed: dict[str, int] = field(default_factory=lambda: {"clicks": 0, "control": 0})
    in_flight: dict[str, list[Step]] = field(default_factory=lambda: {"clicks": [], "control": []})
    table: dict[bytes, bytes] = field(default_factory=dict)
    changelog: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    durable: int = 0

    def read(self, visitor_id: VisitorId) -> StoredVisitor | None:
        """Read a visitor's state with its mark."""
        key = visitor_id.encode()
        return None if key not in self.table else read_visitor(self.table[key], self.table.get(mark_key(key)))

    def write(self, key: bytes, value: bytes | None) -> int:
        """Write a state, a mark or a tombstone; gives how many writes must be durable for it."""
        self.changelog.append((key, value))
        self._fill()
        return len(self.changelog)

    def crash(self) -> None:
        """Lose what the changelog does not have, and go back to the commits."""
        del self.changelog[self.durable :]
        self._fill()
        self.positions = dict(self.committed)
        self.in_flight = {"clicks": [], "control": []}

    def _fill(self) -> None:
        self.table = {key: value for key, value in dict(self.changelog).items() if value is not None}


class Deployment:
    """Partitions that a worker each owns; every step is one that can happen on Kafka."""

    def __init__(self, rules: SessionRules = RULES, *, partitions: int = 3) -> None:
        self.sessionizer = Sessionizer(rules, TOPICS)
        self.identities = Identities(rules, TOPICS)
        self.partitions = [Partition(number) for number in range(partitions)]
        self.ends: dict[str, tuple[VisitorId, ClosedSession]] = {}
        self.statuses: Counter[str] = Counter()

    def home(self, visitor_id: VisitorId) -> Partition:
        """Return the partition of a visitor."""
        return self.partitions[HOMES.setdefault(visitor_id, len(HOMES)) % len(self.partitions)]

    def state(self, visitor_id: VisitorId) -> VisitorState | None:
        """Read a visitor's state."""
        stored = self.home(visitor_id).read(visitor_id)
        return None if stored is None else stored.state

    def click(self, visitor_id: VisitorId, at_ms: int, anonymous_id: VisitorId | None = None, **fields: Any) -> None:
        """Write a click of item `i{at_ms}` to the clickstream."""
        event = ClickEvent(
            visitor_id=visitor_id,
            event_time=START_MS + at_ms,
            anonymous_id=anonymous_id,
            **({"event_type": "view", "item_id": ItemId(f"i{at_ms}")} | fields),
        )
        self.write(event)

    def write(self, event: ClickEvent) -> None:
        """Write a click to the partition of its visitor."""
        self.home(event.visitor_id).logs["clicks"].append(event)

    def take(self, partition: Partition, topic: str) -> bool:
        """Let the actor take the next record; False where there is none."""
        offset = partition.positions[topic]
        if offset == len(partition.logs[topic]):
            return False
        partition.positions[topic] += 1
        record = partition.logs[topic][offset]
        position = InputPosition(topic, partition.number, offset)
        visitor_id = record.visitor_id
        stored, is_still = partition.read(visitor_id), False
        state = None if stored is None else stored.state
        if isinstance(record, ClickEvent):
            arrival = Arrival(position, record.event_time_ms)
            advance = self.sessionizer.advance(state, [record], arrival)
            self.statuses[advance.status] += 1
            joined = self.identities.follow(advance, [record], arrival)
            is_still = advance.is_still and joined.state is advance.state
        elif isinstance(record, Handover):
            joined = self.identities.hand_over(state, record, position)
        else:
            joined = self.identities.adopt(state, record, position)
        write = None
        if joined.state is not None and is_still and stored is not None:
            write = partition.write(mark_key(visitor_id.encode()), encode_mark(stored, joined.state))
        elif joined.state is not None:
            write = partition.write(visitor_id.encode(), encode_state(joined.state, due_ms=0))
        self._keep(partition, topic, Input(offset, visitor_id, write), joined)
        return True

    def _keep(self, partition: Partition, topic: str, taken: Input, joined: Joined) -> None:
        offset, visitor_id, write = taken.offset, taken.visitor_id, taken.write
        moved = [adoption for _, adoption in adoptions(visitor_id, joined.state, joined.closings)]
        ends = [(f"{visitor_id}-{place}", one) for place, one in enumerate(joined.closings) if one.move is None]
        is_write_first = bool(joined.closings or joined.handovers)
        step = Step(offset, write, [*joined.handovers, *moved], ends, is_write_first)
        partition.in_flight[topic].append(step)

    def flush(self, partition: Partition) -> None:
        """Let the changelog take the next write."""
        partition.durable = min(partition.durable + 1, len(partition.changelog))

    def send(self, partition: Partition, topic: str) -> None:
        """Send what the oldest unsent input of a topic causes, as soon as it may go."""
        step = next((step for step in partition.in_flight[topic] if not step.is_sent), None)
        if step is None or (step.is_write_first and step.write is not None and step.write > partition.durable):
            return
        step.is_sent = True
        for record in step.records:
            self.home(record.visitor_id).logs["control"].append(record)
        for name, closed in step.ends:
            self.ends.setdefault(f"{closed.cause.record_id}-{name}", (VisitorId(name.rsplit("-", 1)[0]), closed))

    def acknowledge(self, partition: Partition, topic: str) -> None:
        """Commit the oldest input of a topic, if all that it caused is safe."""
        steps = partition.in_flight[topic]
        if steps and steps[0].is_sent and (steps[0].write or 0) <= partition.durable:
            partition.committed[topic] = steps.pop(0).offset + 1

    def settle(self) -> None:
        """Let everything come to its end, undisturbed."""
        is_busy = True
        while is_busy:
            is_busy = False
            for partition in self.partitions:
                for topic in ("clicks", "control"):
                    is_busy |= self.take(partition, topic)
                    partition.durable = len(partition.changelog)
                    while any(not step.is_sent for step in partition.in_flight[topic]):
                        self.send(partition, topic)
                        is_busy = True
                    while partition.in_flight[topic]:
                        self.acknowledge(partition, topic)

    def sessions(self) -> list[tuple[VisitorId, OpenSession]]:
        """Return every session with its visitor, the ended ones first."""
        found = [(visitor_id, closed.session) for visitor_id, closed in self.ends.values()]
        for visitor_id in HOMES:
            state = self.state(visitor_id)
            found += [(visitor_id, session) for session in (state.open_sessions if state else ())]
        return found

    def items(self, visitor_id: VisitorId) -> list[list[str | None]]:
        """Return the items of a visitor's sessions."""
        return [
            [event.item_id for event in session.events] for owner, session in self.sessions() if owner == visitor_id
        ]

    def all_items(self) -> Counter[str | None]:
        """Count the items of all sessions of all visitors."""
        return Counter(event.item_id for _, session in self.sessions() for event in session.events)


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What happens in which order, by a seed; the parts of the steps are those of a worker that is slow at some."""

    seed: int
    weights: tuple[int, ...]

    def disturb(self, deployment: Deployment) -> None:
        """Let it happen; then every control record comes once more, as after a crash of its sender."""
        order = Random(self.seed)
        steps = ("take", "flush", "send", "acknowledge", "crash", "again")
        for step in order.choices(steps, self.weights, k=200):
            partition, topic = order.choice(deployment.partitions), order.choice(("clicks", "control"))
            match step:
                case "take":
                    deployment.take(partition, topic)
                case "flush":
                    deployment.flush(partition)
                case "send":
                    deployment.send(partition, topic)
                case "acknowledge":
                    deployment.acknowledge(partition, topic)
                case "crash":
                    partition.crash()
                case "again" if partition.logs["control"]:
                    partition.logs["control"].append(order.choice(partition.logs["control"]))
        for partition in deployment.partitions:
            partition.logs["control"] *= 2
