"""One measurement: fresh topics, a program, the events, and what the broker says of the outputs.

All figures are made of the broker's own append times of the output records (`LogAppendTime`), alike for every program:
neither its start nor what it believes of itself is in them.
"""

import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from schemas import wire
from streams.topics import Topic, TopicSettings, TopicSpec, admin_client, create, topic_specs
from tests.bench.programs import CHANGELOG, Place, Running, Subject
from tests.bench.traffic import Click, feed, preload
from tests.kafka.topic_log import LoggedRecord, TopicReader

STUCK_SECONDS = 90.0
POLL_SECONDS = 0.25
WARM_UP_SECONDS = 5.0
"""Of the steady rate: start-up, connections and first calls are no part of the latency."""

Progress = Callable[[int], object]
"""Hears how many events are done."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """Output records a second, between the first and the last append; answers counted by tier and reason."""

    events_per_second: float
    answers: Counter[str]


@dataclass(frozen=True, slots=True)
class Latency:
    """From an input record's timestamp (its creation in the shop) to the append of its answer, milliseconds."""

    events: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    answers: Counter[str]


@dataclass(frozen=True, slots=True)
class Bench:
    """The broker that everything is measured on."""

    brokers: str
    partitions: int

    def throughput(self, subject: Subject, clicks: Sequence[Click], progress: Progress) -> Throughput:
        """Let `subject` work off a backlog of `clicks`."""
        with _Run.on(self) as run:
            preload(self.brokers, run.source, clicks)
            with Running(subject, run.place) as running:
                run.await_outputs(running, len(clicks), progress)
            outputs = run.reader.read(run.target)
        times_ms = [record.time_ms for record in outputs]
        seconds = max(1, max(times_ms) - min(times_ms)) / 1000
        return Throughput(len(outputs) / seconds, answer_counts(outputs) if subject.answers else Counter())

    def latency(self, subject: Subject, clicks: Sequence[Click], rate: float, progress: Progress) -> Latency:
        """Send `clicks` at `rate` a second, and time all but those of the warm-up."""
        warm_up = round(rate * WARM_UP_SECONDS)
        with _Run.on(self) as run, Running(subject, run.place) as running:
            feed(self.brokers, run.source, clicks[:warm_up], rate, progress)
            run.await_outputs(running, warm_up, progress)
            begins = run.reader.end_offsets(run.source)
            feed(self.brokers, run.source, clicks[warm_up:], rate, lambda sent: progress(warm_up + sent))
            run.await_outputs(running, len(clicks), progress)
            inputs = [record for record in run.reader.read(run.source) if record.offset >= begins[record.partition]]
            outputs = run.reader.read(run.target)
        return latency_of(run.source, inputs, outputs)


@dataclass(frozen=True, slots=True)
class _Run:
    """Topics and a folder that live as long as one measurement."""

    place: Place
    reader: TopicReader

    @classmethod
    @contextmanager
    def on(cls, bench: Bench) -> Iterator[Self]:
        """Make them, and take them away at the end: no run shall carry another one's load."""
        admin = admin_client({"bootstrap.servers": bench.brokers})
        topics = TopicSettings(
            prefix=f"bench-{uuid.uuid4().hex[:8]}-", partitions=bench.partitions, replication=1, min_insync_replicas=1
        )
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)))
            reader = TopicReader(bench.brokers, topics.prefix)
            stack.callback(reader.close)
            create(admin, _specs(topics))
            yield cls(Place(bench.brokers, topics, folder), reader)
            made = [name for name in admin.list_topics(timeout=15).topics if name.startswith(topics.prefix)]
            for deleted in admin.delete_topics(made).values():
                deleted.result()

    @property
    def source(self) -> str:
        """The topic of the clicks."""
        return self.place.topics.name(Topic.CLICKSTREAM)

    @property
    def target(self) -> str:
        """The topic of the output records."""
        return self.place.topics.name(Topic.RECOMMENDATIONS)

    def await_outputs(self, running: Running, number: int, progress: Progress) -> None:
        """Wait until `number` output records lie on the broker; raises InsessionError where none came for long."""
        done, moved_at = 0, time.monotonic()
        while done < number:
            time.sleep(POLL_SECONDS)
            now_done = sum(self.reader.end_offsets(self.target).values())
            if now_done > done:
                done, moved_at = now_done, time.monotonic()
                progress(done)
            running.check(is_stuck=time.monotonic() - moved_at > STUCK_SECONDS)


def _specs(topics: TopicSettings) -> list[TopicSpec]:
    appended = {"message.timestamp.type": "LogAppendTime"}
    target = topics.name(Topic.RECOMMENDATIONS)
    specs = [
        replace(spec, configs={**spec.configs, **appended}) if spec.name == target else spec
        for spec in topic_specs(topics)
    ]
    changelog = TopicSpec(f"{topics.prefix}{CHANGELOG}", topics.partitions, 1, {"cleanup.policy": "compact"})
    return [*specs, changelog]


def answer_counts(outputs: Sequence[LoggedRecord]) -> Counter[str]:
    """Count by tier and why no higher one answered, or by status where an event needs no answer."""
    counted: Counter[str] = Counter()
    for record in outputs:
        answer = wire.decode_recommendation_set(record.value or b"")
        what = answer.tier or answer.status
        counted[f"{what} ({answer.reason})" if answer.tier and answer.reason else what] += 1
    return counted


def latency_of(source: str, inputs: Sequence[LoggedRecord], outputs: Sequence[LoggedRecord]) -> Latency:
    """Time each of `inputs`, records of the topic `source`, until the answer that carries its id."""
    by_id = {wire.decode_recommendation_set(record.value or b"").id: record for record in outputs}
    answered = [by_id[f"{source}-{record.partition}-{record.offset}"] for record in inputs]
    waits_ms = [output.time_ms - record.time_ms for record, output in zip(inputs, answered, strict=True)]
    p50, p95, p99 = (float(value) for value in np.percentile(waits_ms, [50, 95, 99]))
    return Latency(len(inputs), p50, p95, p99, float(max(waits_ms)), answer_counts(answered))
