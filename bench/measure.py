"""One measurement: fresh topics, a program that is warm, the events, and what the broker says of the outputs.

An output counts when the broker appends it (`LogAppendTime` on the output topic), alike for every program: neither its
start nor what it believes of itself is in a figure.
"""

import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import numpy as np
from confluent_kafka.admin import AdminClient

from bench.programs import Cpu, HeldBytes, Place, Running, Subject
from bench.traffic import Click, feed, preload
from schemas import wire
from schemas.records import RecommendationSet, Status
from streams.cluster.topic_creation import create
from streams.cluster.topics import Topic, TopicSettings, TopicSpec, admin_client, topic_specs
from tests.kafka.topic_log import LoggedRecord, TopicReader

STUCK_SECONDS = 90.0
POLL_SECONDS = 0.25
PROBE_RATE = 1.0
"""Clicks a second until a program has begun."""
QUIET_SECONDS = 2.0
WARM_UP_SECONDS = 5.0
"""Of a steady rate, before any measurement: start-up, connections and first calls are no part of it."""
WARM_UP_RATE = 100.0
"""Events a second before a backlog."""
BACKLOG_WARM_UP = round(WARM_UP_RATE * WARM_UP_SECONDS)

UNASKED = ("(cheap)", "(unseen_items)", "(filtered_out)")
"""What the model is not asked for, or what is not its fault."""

Progress = Callable[[int], object]
"""Hears how many events are done."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """Events a second until the append of the last answer; answers by tier and reason.

    answered_twice: answers whose id was there before; nothing was killed, so there should be none.
    cpu_us: an event, by thread. held: memory at the end.
    """

    events_per_second: float
    answers: Counter[str]
    answered_twice: int
    cpu_us: Cpu
    held: HeldBytes


@dataclass(frozen=True, slots=True)
class Latency:
    """From an input record's timestamp (its creation in the shop) to the append of its answer, milliseconds.

    cpu_us: an event, by thread.
    """

    events: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    answers: Counter[str]
    cpu_us: Cpu

    @property
    def model_share(self) -> float:
        """Share of the model's answers among those that it should have given: not of bots, nor of unseen items."""
        due = {
            name: count
            for name, count in self.answers.items()
            if name not in get_args(Status) and not name.endswith(UNASKED)
        }
        return due.get("model", 0) / max(sum(due.values()), 1)


@dataclass(frozen=True, slots=True)
class Bench:
    """The broker that everything is measured on."""

    brokers: str
    partitions: int

    def throughput(self, subject: Subject, clicks: Sequence[Click], progress: Progress) -> Throughput:
        """Let `subject`, warm and idle, work off a backlog that is there in full when the clock starts.

        The first `BACKLOG_WARM_UP` of `clicks` are for the warm-up.
        """
        with self._warm(subject, clicks[:BACKLOG_WARM_UP], WARM_UP_RATE) as run:
            with run.running.stopped():
                preload(self.brokers, run.source, clicks[BACKLOG_WARM_UP:])
                cpu_before = run.running.cpu()
                began_ms = time.time() * 1000
            run.await_outputs(len(clicks), progress)
            cpu, held = run.running.cpu(), run.running.held()
            inputs, outputs = run.measured()
        seconds = (max(record.time_ms for record in outputs) - began_ms) / 1000
        answers = answers_of(outputs) if subject.answers else []
        return Throughput(
            len(inputs) / seconds,
            answer_counts(answers),
            came_twice(answers),
            cpu.since(cpu_before, len(inputs)),
            held,
        )

    def latency(self, subject: Subject, clicks: Sequence[Click], rate: float, progress: Progress) -> Latency:
        """Send `clicks` at `rate` a second, and time all but those of the warm-up."""
        warm_up = round(rate * WARM_UP_SECONDS)
        with self._warm(subject, clicks[:warm_up], rate) as run:
            cpu_before = run.running.cpu()
            feed(self.brokers, run.source, clicks[warm_up:], rate, lambda sent: progress(warm_up + sent))
            run.await_outputs(len(clicks), progress)
            cpu = run.running.cpu()
            inputs, outputs = run.measured()
        return latency_of(run.source, inputs, outputs, cpu.since(cpu_before, len(inputs)))

    @contextmanager
    def _warm(self, subject: Subject, clicks: Sequence[Click], rate: float) -> Iterator["_Run"]:
        """Start `subject` on topics of its own, and let it answer `clicks`; all is taken away at the end."""
        admin = admin_client({"bootstrap.servers": self.brokers})
        topics = TopicSettings(
            prefix=f"bench-{uuid.uuid4().hex[:8]}-", partitions=self.partitions, replication=1, min_insync_replicas=1
        )
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True))
            reader = TopicReader(self.brokers, topics.prefix)
            stack.callback(reader.close)
            create(admin, _specs(topics, subject.changelog))
            stack.callback(_delete, admin, topics.prefix)
            running = stack.enter_context(Running(subject, Place(self.brokers, topics, Path(folder))))
            run = _Run(topics, running, reader)
            self._begin(run, clicks[:1], takes_all=subject.answers)
            feed(self.brokers, run.source, clicks, rate, lambda _: None)
            run.await_outputs(len(clicks), lambda _: None)
            run.begins.update({topic: reader.end_offsets(topic) for topic in (run.source, run.target)})
            yield run

    def _begin(self, run: "_Run", probe: Sequence[Click], *, takes_all: bool) -> None:
        """Send one click a second until the program answers: what a baseline reads while it joins, it may lose.

        takes_all: the program loses nothing, and each of them must be answered.
        """
        sent, until = 0, time.monotonic() + STUCK_SECONDS
        while not run.outputs():
            feed(self.brokers, run.source, probe, PROBE_RATE, lambda _: None)
            sent += 1
            run.running.check(is_stuck=time.monotonic() > until, done=f"no answer to {sent} clicks")
        if takes_all:
            run.await_outputs(sent, lambda _: None)
        else:
            run.await_quiet()
        run.before = run.outputs()


@dataclass(slots=True)
class _Run:
    """One program on topics of its own.

    before: outputs that do not count. begins: by topic and partition, where the measured records begin.
    """

    topics: TopicSettings
    running: Running
    reader: TopicReader
    before: int = 0
    begins: dict[str, dict[int, int]] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The topic of the clicks."""
        return self.topics.name(Topic.CLICKSTREAM)

    @property
    def target(self) -> str:
        """The topic of the output records."""
        return self.topics.name(Topic.RECOMMENDATIONS)

    def measured(self) -> tuple[list[LoggedRecord], list[LoggedRecord]]:
        """Read the inputs and the outputs behind the warm-up."""
        inputs, outputs = (
            [record for record in self.reader.read(topic) if record.offset >= self.begins[topic][record.partition]]
            for topic in (self.source, self.target)
        )
        return inputs, outputs

    def outputs(self) -> int:
        """Count the output records on the broker."""
        return sum(self.reader.end_offsets(self.target).values())

    def await_outputs(self, number: int, progress: Progress) -> None:
        """Wait for `number` output records; raises InsessionError where none came for long."""
        done, moved_at = 0, time.monotonic()
        while done < number:
            time.sleep(POLL_SECONDS)
            now_done = self.outputs() - self.before
            if now_done > done:
                done, moved_at = now_done, time.monotonic()
                progress(done)
            self.running.check(is_stuck=time.monotonic() - moved_at > STUCK_SECONDS, done=f"{done} of {number} done")

    def await_quiet(self) -> None:
        """Wait until no output has come for `QUIET_SECONDS`."""
        known, moved_at = -1, time.monotonic()
        while time.monotonic() - moved_at < QUIET_SECONDS:
            now = self.outputs()
            if now != known:
                known, moved_at = now, time.monotonic()
            time.sleep(POLL_SECONDS)


def _delete(admin: AdminClient, prefix: str) -> None:
    """Delete a run's topics, changelogs too: no run shall carry another one's load."""
    made = [name for name in admin.list_topics(timeout=15).topics if name.startswith(prefix)]
    for deleted in admin.delete_topics(made).values():
        deleted.result()


def _specs(topics: TopicSettings, changelog: str | None) -> list[TopicSpec]:
    appended = {"message.timestamp.type": "LogAppendTime"}
    target = topics.name(Topic.RECOMMENDATIONS)
    specs = [
        replace(spec, configs={**spec.configs, **appended}) if spec.name == target else spec
        for spec in topic_specs(topics)
    ]
    if changelog is None:
        return specs
    return [*specs, TopicSpec(topics.prefix + changelog, topics.partitions, 1, {"cleanup.policy": "compact"})]


def answers_of(outputs: Iterable[LoggedRecord]) -> list[RecommendationSet]:
    """Read what the records hold."""
    return [wire.decode_recommendation_set(record.value or b"") for record in outputs]


def came_twice(answers: Sequence[RecommendationSet]) -> int:
    """Count the answers whose id was there before."""
    return len(answers) - len({answer.id for answer in answers})


def answer_counts(answers: Iterable[RecommendationSet]) -> Counter[str]:
    """Count by tier and why no higher one answered, or by status where an event needs no answer."""
    counted: Counter[str] = Counter()
    for answer in answers:
        what = answer.tier or answer.status
        counted[f"{what} ({answer.reason})" if answer.tier and answer.reason else what] += 1
    return counted


def latency_of(source: str, inputs: Sequence[LoggedRecord], outputs: Sequence[LoggedRecord], cpu_us: Cpu) -> Latency:
    """Time each of `inputs`, records of the topic `source`, until the answer that carries its id."""
    by_id = {wire.decode_recommendation_set(record.value or b"").id: record for record in outputs}
    answered = [by_id[f"{source}-{record.partition}-{record.offset}"] for record in inputs]
    waits_ms = [output.time_ms - record.time_ms for record, output in zip(inputs, answered, strict=True)]
    p50, p90, p99 = (float(value) for value in np.percentile(waits_ms, [50, 90, 99]))
    return Latency(len(inputs), p50, p90, p99, float(max(waits_ms)), answer_counts(answers_of(answered)), cpu_us)
