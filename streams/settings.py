"""How the stream side is set: brokers, group, state, delivery; checked when made."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from schemas.errors import UsageError
from streams.security import SecuritySettings

_BROKER: Final = re.compile(r"(?:[^\s:/@\[\]]+|\[[0-9a-fA-F:.]+\])(?::(?P<port>[0-9]{1,5}))?")
_GROUP: Final = re.compile(r"[a-zA-Z0-9._-]{1,200}")
SESSION_SEND_RATIO: Final = 1.3
"""What the session timeout is to the send timeout, at least.

A heartbeat comes every sixth of the former, and a record that was sent right before a pause must be given up
(streams/delivery/producer.py) before that has cost the worker its session.
"""
_MOCK_FETCH_WAIT_MS: Final = 50
"""How long brokers may hold an empty answer back. The embedded one does so even when a record comes meanwhile: with
librdkafka's 500 ms half of all changes were seen after 480 ms or more, with 50 ms half within 31 ms. Others would be
asked 20 times a second by each view of each process, for nothing."""
_ABOVE_ZERO: Final = ("send_timeout", "commit_interval", "session_timeout", "tick_interval")
_AT_LEAST: Final = {"window_span": 1, "control_window_span": 1, "standby_replicas": 0, "rocksdb_cache_bytes": 1}


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How the worker reads, keeps state and writes.

    brokers: `host:port` of the brokers to ask first, comma separated.
    group: Consumer group and beginning of the changelog's name, behind `topics.prefix`; one a deployment.
    datadir: Folder of the local state; one a worker, never shared.
    instance_id: Static membership: a worker that comes back under it within session_timeout keeps its partitions.
    standby_replicas: Copies of each partition's state that other workers keep ready.
    window_span: Most offsets of a clickstream partition that may be unacknowledged at once.
    control_window_span: The same for a partition of session-control.
    send_timeout: A record that the brokers have not acknowledged by then ends the worker, which then starts over.
    commit_interval: How often acknowledged offsets are committed.
    session_timeout: A worker that the group has not heard of for this long loses its partitions; at least
        1.3 times send_timeout.
    rebalance_timeout: Patience of the group with a worker that hands its partitions over.
    stall_timeout: A worker whose start or rebalance has not moved for this long ends, and is started anew.
    tick_interval: How often ticks look for sessions that nobody clicks in any more; where one leaves some over, further
        ones come up to ten times as often.
    linger: How long a record may wait for others to share its request.
    web_host: Address of the pages `/metrics`, `/healthz` and `/readyz`.
    web_port: Port of the pages.
    rocksdb_cache_bytes: Block cache of each partition's state; its write buffer is half of that.
    is_mock_broker: The embedded broker cannot create topics nor hold two workers; session timeouts are short on it.
    """

    brokers: str = "127.0.0.1:9092"
    group: str = "insession"
    datadir: Path = Path("insession-data")
    instance_id: str | None = None
    standby_replicas: int = 0
    window_span: int = 256
    control_window_span: int = 4
    send_timeout: timedelta = timedelta(seconds=20)
    commit_interval: timedelta = timedelta(seconds=1)
    session_timeout: timedelta = timedelta(seconds=30)
    rebalance_timeout: timedelta = timedelta(seconds=90)
    stall_timeout: timedelta = timedelta(seconds=150)
    tick_interval: timedelta = timedelta(seconds=1)
    linger: timedelta = timedelta(milliseconds=0.5)
    web_host: str = "127.0.0.1"
    web_port: int = 6066
    rocksdb_cache_bytes: int = 16 << 20
    is_mock_broker: bool = False
    security: SecuritySettings = field(default_factory=SecuritySettings)

    def __post_init__(self) -> None:
        """Refuse settings that cannot work, alone or together."""
        self._check_addresses()
        self._check_amounts()
        if self.send_timeout >= self.rebalance_timeout:
            raise UsageError(
                f"kafka.send_timeout ({self.send_timeout}) must be below kafka.rebalance_timeout "
                f"({self.rebalance_timeout}): a revocation waits for what is unacknowledged"
            )
        if self.session_timeout < self.send_timeout * SESSION_SEND_RATIO and not self.is_mock_broker:
            raise UsageError(
                f"kafka.session_timeout ({self.session_timeout}) must be at least {SESSION_SEND_RATIO} times "
                f"kafka.send_timeout ({self.send_timeout}): a record that is tried for longer may arrive when another "
                "worker has the partition. Raise the first or lower the second"
            )
        if self.stall_timeout <= self.session_timeout + self.rebalance_timeout:
            raise UsageError(
                f"kafka.stall_timeout ({self.stall_timeout}) must be above kafka.session_timeout "
                f"({self.session_timeout}) plus kafka.rebalance_timeout ({self.rebalance_timeout}): for so long a join "
                "may wait for a member that is gone and then for one that hands over"
            )

    def client_config(self) -> dict[str, Any]:
        """Return what every librdkafka client of ours (admin, producer, consumer) needs to reach the brokers.

        The password is in it: never log it. Where the brokers ask for tokens the first one is fetched here: a client
        says no more than that it has none. Raises TokenError.
        """
        if self.security.tokens is not None:
            self.security.tokens.token()
        return {"bootstrap.servers": self.brokers, **self.security.librdkafka()}

    def view_config(self) -> dict[str, Any]:
        """Return what a consumer needs that follows a topic for as long as its process runs; see `client_config`."""
        waits = {"fetch.wait.max.ms": _MOCK_FETCH_WAIT_MS} if self.is_mock_broker else {}
        return {**self.client_config(), **waits}

    def _check_addresses(self) -> None:
        for broker in self.brokers.split(","):
            found = _BROKER.fullmatch(broker.strip())
            if found is None or not 1 <= int(found["port"] or 9092) <= 65535:
                raise UsageError(f"kafka.brokers: {broker.strip()!r} is no host:port, like kafka-1:9092")
        if not self.web_host.strip():  # it would listen on every address
            raise UsageError("kafka.web_host must not be empty; 0.0.0.0 is every address")
        if not _GROUP.fullmatch(self.group):
            raise UsageError(
                f"kafka.group {self.group!r} begins the changelog's name: give letters, digits, '.', '_' and '-'"
            )
        if not 1 <= self.web_port <= 65535:
            raise UsageError(f"kafka.web_port must be from 1 to 65535, found {self.web_port}")

    def _check_amounts(self) -> None:
        for name in _ABOVE_ZERO:
            if getattr(self, name) <= timedelta(0):
                raise UsageError(f"kafka.{name} must be above 0, found {getattr(self, name)}")
        if self.linger < timedelta(0):
            raise UsageError(f"kafka.linger must be at least 0, found {self.linger}")
        for name, least in _AT_LEAST.items():
            if getattr(self, name) < least:
                raise UsageError(f"kafka.{name} must be at least {least}, found {getattr(self, name)}")
