"""One run: a deployment, its shop and its accidents, from a seed; then calm, and the books."""

import asyncio
import gc
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import gettempdir
from typing import Final

from faust.types import TP

from streams.cluster.topics import Topic, changelog_name
from streams.delivery.endings import UNEXPECTED
from tests.kafka.shop import Click, Shop
from tests.simulation.broker import Broker, Network
from tests.simulation.clock import CLOCK, EPOCH_SECONDS
from tests.simulation.faults import draw_absence, draw_faults
from tests.simulation.group import Group
from tests.simulation.loop import SimulatedLoop, StandstillError
from tests.simulation.oracle import Books, check
from tests.simulation.stand_ins import forget_apps, silence
from tests.simulation.trace import Trace
from tests.simulation.worker import PARTITIONS, Host, running, simulated_settings

CLICKS: Final = 54
VISITORS: Final = 7
SECONDS_OF_TRAFFIC: Final = 11.0
LAST_RECORDS_LOST_MORE: Final = 8
"""The last records are lost more often: nothing follows that would show it."""
PATIENCE_SECONDS: Final = 150.0
"""After the last fault, for all to be committed: more than the stall timeout, a restart and a recovery."""


@dataclass(slots=True)
class Result:
    """What a run showed. problems: empty where all is well."""

    seed: int
    problems: list[str] = field(default_factory=list)
    trace: Trace = field(default_factory=Trace)
    callbacks: int = 0
    events: int = 0
    duplicates: int = 0


class World:
    """Everything in a run."""

    def __init__(self, seed: int, *, is_traced: bool = False) -> None:
        CLOCK.now = 0.0
        random.seed(seed)
        self.result = Result(seed, trace=Trace(is_kept=is_traced))
        self.trace = self.result.trace
        self.chance = self._chance_of("story")
        self.faults = draw_faults(self.chance)
        self._is_orderly = self.faults.is_orderly
        self.loop = SimulatedLoop(self._chance_of("loop"))
        folder = Path(gettempdir()) / "insession-simulation"
        self.settings = simulated_settings(folder, standbys=self.chance.choice((0, 0, 1)))
        kafka = self.settings.kafka
        group = Group(
            self.loop, self.trace, kafka.session_timeout.total_seconds(), kafka.rebalance_timeout.total_seconds()
        )
        broker_chance = self._chance_of("broker")
        self.broker = Broker(self.loop, group, self.trace, self.faults, broker_chance, partitions=PARTITIONS)
        self.broker.create(*map(self.settings.topics.name, Topic), changelog_name(kafka, self.settings.topics))
        self.network = Network(self.loop, self._chance_of("network"), self.faults)
        self.broker.taken = self._spring
        self._ambushes: dict[str, int] = {}
        self.hosts = [self._host(name) for name in "abc"]
        self.clickstream = self.settings.topics.name(Topic.CLICKSTREAM)

    def _chance_of(self, part: str) -> random.Random:
        return random.Random(f"{self.result.seed} {part}")

    def _host(self, name: str) -> Host:
        chance = self._chance_of(name)
        return Host(name, self.settings, self.broker, self.network, self.faults, chance, self.trace)

    def run(self) -> Result:
        """Live through the story and check the books."""
        asyncio.set_event_loop(self.loop)
        self.trace.add("seed", self.result.seed, self.faults)
        try:
            self.loop.run(self._story())
        except StandstillError as error:
            self.result.problems.append(str(error))
        self.result.problems += [
            f"{host.name} ended by itself: {why}" for host in self.hosts for why in host.ends if UNEXPECTED in why
        ]
        self.result.callbacks = self.loop.callbacks
        return self.result

    async def _story(self) -> None:
        expiring = asyncio.ensure_future(self._expire_members())
        for host in self.hosts[: self.chance.randint(1, 2)]:
            host.start()
        accidents = asyncio.ensure_future(self._accidents())
        await self._traffic()
        accidents.cancel()
        await self._calm()
        settled = await self._settled()
        if settled:
            self.result.problems.append(settled)
        else:
            books = Books(self.settings, self.broker, self.hosts, is_orderly=self._is_orderly)
            findings = check(books)
            self.result.problems += findings.problems
            self.result.events, self.result.duplicates = findings.events, findings.duplicates
        expiring.cancel()

    async def _expire_members(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            for member_id in self.broker.group.expire():
                self.trace.add("expired", member_id)

    async def _traffic(self) -> None:
        shop = Shop(self.result.seed, visitors=VISITORS, start_ms=round(EPOCH_SECONDS * 1000) - 86_400_000)
        until = self.loop.time() + SECONDS_OF_TRAFFIC
        clicks: Iterator[Click] = islice(shop.clicks(), CLICKS)
        transactions = 0
        for number, click in enumerate(clicks):
            if number == CLICKS - PARTITIONS:
                self.faults.dropped_record *= LAST_RECORDS_LOST_MORE
            await asyncio.sleep(self.chance.expovariate(CLICKS / SECONDS_OF_TRAFFIC))
            key = click.key.encode()
            tp = TP(self.clickstream, self.broker.partition_of(key))
            if self.chance.random() < self.faults.hole:
                self.broker.logs[tp].leave_hole(self.chance.randint(1, 3))
            if self.chance.random() < self.faults.transaction:
                transactions += 1
                self.broker.append(tp, key, click.value, transaction=transactions)
                end = partial(self._end_transaction, tp, transactions, is_commit=self.chance.random() < 0.6)
                self.loop.call_later(self.chance.random() * 2.0, end)
            else:
                self.broker.append(tp, key, click.value)
        await asyncio.sleep(max(2.5, until - self.loop.time()))

    def _end_transaction(self, tp: TP, transaction: int, *, is_commit: bool) -> None:
        self.trace.add("transaction", tp, transaction, "commit" if is_commit else "abort")
        self.broker.logs[tp].end_transaction(transaction, is_commit=is_commit, time_ms=self.broker.now_ms())
        self.broker.stir()

    async def _accidents(self) -> None:
        while self.faults.accidents:
            await asyncio.sleep(self.chance.expovariate(1 / 2.0))
            getattr(self, f"_{self.chance.choice(self.faults.accidents)}")()

    def _some_host(self) -> Host | None:
        there = running(self.hosts)
        return self.chance.choice(there) if there else None

    def _kill(self) -> None:
        host = self._some_host()
        if host is None:
            return
        host.disk_after_death = self.chance.choice(("kept", "kept", "older", "wiped"))
        host.kill(after_callbacks=self.chance.randint(0, 60))

    def _ambush(self) -> None:
        """Kill a worker when the broker has taken one of its next batches or commits, and it does not know yet."""
        host = self._some_host()
        if host is not None and host.process is not None:
            self.trace.add("ambush", host.name)
            self._ambushes[host.process.name] = self.chance.randint(1, 8)

    def _spring(self, client: str) -> None:
        if client not in self._ambushes:
            return
        self._ambushes[client] -= 1
        if self._ambushes[client] == 0:
            host = next(one for one in self.hosts if one.process is not None and one.process.name == client)
            host.disk_after_death = self.chance.choice(("kept", "kept", "older", "wiped"))
            host.kill()

    def _leave(self) -> None:
        host = self._some_host()
        if host is not None and host.is_wanted:
            host.stop()

    def _join(self) -> None:
        away = [host for host in self.hosts if not host.is_running]
        if away:
            self.chance.choice(away).start()

    def _cut(self) -> None:
        host = self._some_host()
        if host is not None and host.process is not None:
            seconds = draw_absence(self.chance)
            self.trace.add("cut", host.name, f"{seconds:.2f}")
            self.network.cut_until[host.process.name] = self.loop.time() + seconds

    def _pause(self) -> None:
        host = self._some_host()
        if host is not None:
            host.pause(draw_absence(self.chance))

    def _retention(self) -> None:
        """Delete what is committed, or, where nobody runs, more than that."""
        tp = TP(self.clickstream, self.chance.randrange(PARTITIONS))
        log, committed = self.broker.logs[tp], self.broker.group.commits.get(tp, 0)
        end = committed
        if not running(self.hosts) and committed >= log.fetched_to:
            end = self.chance.randint(committed, log.end) if committed < log.end else committed
        log.delete_before(end)
        log.forget_unread()
        self.trace.add("retention", tp, log.start)

    async def _calm(self) -> None:
        """End all faults; at least one worker goes on."""
        self.faults.calm_down()
        self._ambushes.clear()
        self.trace.add("calm")
        if not any(host.is_wanted for host in self.hosts):
            self.hosts[0].is_wanted = True
        for host in self.hosts:
            if host.is_wanted and not host.is_running:
                host.start()

    async def _settled(self) -> str | None:
        """Wait until all is committed; says what is not."""
        until = self.loop.time() + PATIENCE_SECONDS
        while self.loop.time() < until:
            await asyncio.sleep(0.5)
            if self._is_quiet() and not self._owed():
                return None
        owed = {f"{tp.topic}-{tp.partition}": (committed, end) for tp, (committed, end) in self._owed().items()}
        if not self._is_quiet():
            return f"not settled after {PATIENCE_SECONDS:g} s: the group is {self.broker.group.state}"
        return f"not settled after {PATIENCE_SECONDS:g} s: committed, end: {owed}"

    def _is_quiet(self) -> bool:
        """Return whether every wanted worker runs, is a member and has no rebalance before it."""
        hosts = running(self.hosts)
        is_quiet = all(host.is_quiet for host in hosts) and len(hosts) == self.broker.group.size
        return is_quiet and self.broker.group.state == "stable" and {*hosts} >= {h for h in self.hosts if h.is_wanted}

    def _owed(self) -> dict[TP, tuple[int, int]]:
        owed = {}
        for number in range(PARTITIONS):
            for topic in (self.clickstream, self.settings.topics.name(Topic.SESSION_CONTROL)):
                tp = TP(topic, number)
                records = [one for one in self.broker.logs[tp].records() if one.offset >= self.broker.logs[tp].start]
                end = records[-1].offset + 1 if records else 0
                committed = self.broker.group.commits.get(tp, 0)
                if committed < end:
                    owed[tp] = (committed, end)
        return owed


def simulate(seed: int, *, is_traced: bool = False) -> Result:
    """Run one seed."""
    gc.disable()  # it runs where Faust asks for it, so that what it finds does not depend on how much memory there is
    world = World(seed, is_traced=is_traced)
    with silence():
        result = world.run()
        world.loop.end()
        forget_apps()
        del world
        gc.collect()
    return result
