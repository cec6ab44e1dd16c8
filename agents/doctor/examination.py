"""The whole examination: every check that can still be made when another one fails."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

from agents.doctor.catalog_records import CHECK as CATALOG_CHECK
from agents.doctor.catalog_records import catalog_findings
from agents.doctor.clock import ask_brokers, clock_finding
from agents.doctor.cluster import Brokers, group_findings, topic_findings
from agents.doctor.findings import Finding, Level, error, unchecked
from agents.doctor.machine import machine_findings
from agents.doctor.model import ask_server, model_findings
from agents.doctor.records import CHECKS, record_clock_finding, record_findings
from agents.doctor.rule_records import CHECK as RULES_CHECK
from agents.doctor.rule_records import rule_findings
from agents.encodings import Encodings, click_readers
from agents.settings import Settings
from agents.upkeep.rule_log import read_changes, stored_rules
from schemas.errors import InsessionError
from streams.cluster.topic_reader import TopicReader, latest
from streams.cluster.topics import Topic
from streams.records import InputRecord

READER_SECONDS: Final = 5.0


def examine(settings: Settings, sample_size: int) -> Iterator[Finding]:
    """Make every check, `sample_size` records of the clickstream included.

    Nothing is written but ticks without effect, for the brokers to time.
    """
    yield from _guarded("machine", lambda: machine_findings(settings))
    brokers = Brokers(settings.kafka.client_config())
    reachable = brokers.finding(settings.kafka.brokers)
    yield reachable
    if reachable.level is Level.OK:
        yield from _guarded("topics", lambda: topic_findings(brokers, settings))
        for topic in settings.clickstreams:
            yield from _guarded("clickstream", partial(_clickstream, brokers, settings, topic, sample_size))
        yield from _guarded(CATALOG_CHECK, lambda: _catalog(settings, sample_size))
        yield from _guarded(RULES_CHECK, lambda: _rules(settings))
    else:
        checks = ("topics", "changelog", "replication", "workers", "lag", *CHECKS, "clock", CATALOG_CHECK, RULES_CHECK)
        yield from (unchecked(check, "the brokers do not answer") for check in checks)
    yield from _guarded(
        "model", lambda: model_findings(settings.serving, ask_server(settings.serving), datetime.now(UTC))
    )


def _clickstream(brokers: Brokers, settings: Settings, topic: str, sample_size: int) -> Iterator[Finding]:
    with TopicReader(settings.kafka.client_config(), timeout_seconds=READER_SECONDS) as reader:
        bounds = reader.bounds(topic)
        yield from _guarded("workers", lambda: group_findings(brokers, settings, topic, bounds))
        records: Sequence[InputRecord] = list(reader.read(topic, latest(bounds, sample_size)))
    yield from record_findings(records, len(bounds), click_readers(settings, Encodings(settings).clicks)[topic])
    control = settings.topics.name(Topic.SESSION_CONTROL)
    asked = ask_brokers(settings.kafka.client_config(), control)
    yield clock_finding(asked, record_clock_finding(records, time.time_ns() // 1_000_000), control)


def _catalog(settings: Settings, sample_size: int) -> Iterator[Finding]:
    topic = settings.topics.name(Topic.CATALOG)
    with TopicReader(settings.kafka.client_config(), timeout_seconds=READER_SECONDS) as reader:
        records = list(reader.read(topic, latest(reader.bounds(topic), sample_size)))
    yield from catalog_findings(records, Encodings(settings).catalog_reader())


def _rules(settings: Settings) -> Iterator[Finding]:
    yield from rule_findings(stored_rules(read_changes(settings)), time.time_ns() // 1_000_000)


def _guarded(part: str, findings: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Turn what keeps one part of the examination from its end into a finding."""
    try:
        yield from findings()
    except (InsessionError, OSError) as failure:
        message, _, remedy = str(failure).partition(": ")
        yield error(part, message, remedy or "mend that, and run doctor again for the checks behind it")
