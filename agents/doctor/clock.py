"""Whether this machine's clock is the brokers', asked by a record that changes nothing."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaException, Producer

from agents.doctor.findings import Finding, Level, ok, warning
from schemas import wire
from schemas.events import Tick
from streams.cluster.producers import producer_config

_NO_MOMENT: Final = Tick(next_offset=0, stream_time_ms=0)
"""A tick of 1970: nothing is due by it."""
_TRIES: Final = 3
_TIMEOUT_SECONDS: Final = 5.0
TOLERANCE_MS: Final = 200
"""A shopper's budget is 500 ms: what is less is lost in the network's delay."""


@dataclass(frozen=True, slots=True)
class BrokersClock:
    """How far this machine's clock is ahead of the brokers', below 0 behind, to within `within_ms`."""

    ahead_ms: float
    within_ms: float


def ask_brokers(
    client_config: Mapping[str, Any], topic: str, clock: Callable[[], float] = time.time
) -> BrokersClock | str:
    """Write ticks without effect to `topic`, and compare the times that the broker gives them; a text says why not.

    Only a topic with LogAppendTime tells the broker's time (KIP-32). The quickest of some answers is the most exact.
    """
    producer = Producer(producer_config(client_config, client_id="insession-doctor", linger_ms=0, idempotent=False))
    try:
        asked = [_ask(producer, topic, clock) for _ in range(_TRIES)]
    except KafkaException as failure:
        return f"{topic} cannot be written ({failure.args[0].str()})"
    answers = [one for one in asked if one is not None]
    if not answers:
        return f"{topic} keeps its writers' timestamps"
    return min(answers, key=lambda one: one.within_ms)


def clock_finding(asked: BrokersClock | str, by_records: Finding, topic: str) -> Finding:
    """Return how this machine's clock goes; by_records: what the newest clicks say of it."""
    if by_records.level is Level.WARNING and (isinstance(asked, str) or not _differs(asked)):
        return by_records
    if isinstance(asked, str):
        remedy = f"to know by how much, let the brokers time it: message.timestamp.type=LogAppendTime on {topic}"
        message = f"{by_records.message}; how the brokers' clock goes is not known: {asked}"
        return replace(by_records, message=message, remedy=remedy)
    if _differs(asked):
        where = "ahead of" if asked.ahead_ms > 0 else "behind"
        return warning(
            "clock",
            f"this machine's clock is {abs(asked.ahead_ms) / 1000:,.1f} s {where} the brokers' (to within "
            f"{asked.within_ms:.0f} ms)",
            "synchronise the clocks of producers, brokers and workers (NTP): the freshness budget counts from a "
            "record's timestamp, and no more than 5 s of skew are made up for",
        )
    within_ms = TOLERANCE_MS + asked.within_ms
    return ok("clock", f"this machine's is the brokers' to within {within_ms:.0f} ms; {by_records.message}")


def _differs(asked: BrokersClock) -> bool:
    return abs(asked.ahead_ms) > TOLERANCE_MS + asked.within_ms


def _ask(producer: Producer, topic: str, clock: Callable[[], float]) -> BrokersClock | None:
    delivered: list[Any] = []
    sent_seconds = clock()
    producer.produce(topic, wire.encode(_NO_MOMENT), partition=0, on_delivery=lambda *report: delivered.append(report))
    producer.flush(_TIMEOUT_SECONDS)
    acknowledged_seconds = clock()
    if not delivered:
        return None
    error, message = delivered[0]
    if error is not None:
        raise KafkaException(error)
    kind, broker_ms = message.timestamp()
    if kind != TIMESTAMP_LOG_APPEND_TIME:
        return None
    half_ms = (acknowledged_seconds - sent_seconds) * 500
    return BrokersClock(sent_seconds * 1000 + half_ms - broker_ms, half_ms)
