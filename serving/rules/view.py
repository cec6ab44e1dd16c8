"""The rules as the topic last said; one thread may write while others read."""

import threading
import time
from collections.abc import Callable

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from schemas.ids import RuleId
from schemas.places import LocationSettings
from schemas.rules import (
    MAX_RULES,
    UNREADABLE_RULE_REASONS,
    MerchantRule,
    RemovedRule,
    RuleRecord,
    UnreadableRule,
    read_rule,
)
from serving.rules.book import RuleBook

log = structlog.get_logger(__name__)


class RuleMetrics:
    """What rules there are, and which there cannot be."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.in_force = Gauge(
            "insession_rules_in_force", "Merchants' rules that hold for somebody at this time.", registry=registry
        )
        self.refused_rules = Gauge(
            "insession_rules_refused",
            "Merchants' rules whose last record cannot be read; the last good one of each stays, if there was one.",
            registry=registry,
        )
        self.refused_records = Counter(
            "insession_refused_rule_records",
            "Records of merchants' rules that cannot be read, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in UNREADABLE_RULE_REASONS:
            self.refused_records.labels(reason=reason)


class RuleView:
    """Keeps the latest record of each rule that can be read; a record that cannot is logged, counted and left out.

    now_ms: Unix milliseconds, by which the metrics tell which rules hold.
    """

    def __init__(
        self,
        metrics: RuleMetrics,
        locations: LocationSettings | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.metrics = metrics
        self._rules: dict[RuleId, MerchantRule] = {}
        self._refused = set[RuleId]()
        self._lock = threading.Lock()
        self._compiled = RuleBook((), locations)
        self._changes: dict[RuleId, MerchantRule | None] = {}
        self._now_ms = now_ms
        metrics.in_force.set_function(lambda: len(self.book.in_force(now_ms())))

    @property
    def book(self) -> RuleBook:
        """Return the rules, compiled; a change waits for who asks next, so that a thousand of them cost one."""
        if self._changes:
            with self._lock:
                if self._changes:  # another reader may have been here first
                    self._compiled = self._compiled.with_changes(self._changes)
                    self._changes = {}
        return self._compiled

    def apply(self, key: bytes | None, value: bytes | None) -> RuleRecord:
        """Take in one record of the topic, and give what it says."""
        record = read_rule(key, value)
        with self._lock:
            if isinstance(record, MerchantRule) and record.rule_id not in self._rules and self._is_full():
                record = UnreadableRule(record.rule_id, "too_many", f"there are {MAX_RULES:,} others: remove some")
            match record:
                case MerchantRule():
                    self._rules[record.rule_id] = self._changes[record.rule_id] = record
                    self._refused.discard(record.rule_id)
                case RemovedRule():
                    if self._rules.pop(record.rule_id, None) is not None:
                        self._changes[record.rule_id] = None
                    self._refused.discard(record.rule_id)
                case UnreadableRule():
                    self._refuse(record)
        self.metrics.refused_rules.set(len(self._refused))
        return record

    def _is_full(self) -> bool:
        """Return whether one more rule has no room, after those that are over have left."""
        if len(self._rules) < MAX_RULES:
            return False
        now_ms = self._now_ms()
        over = [rule_id for rule_id, rule in self._rules.items() if rule.ends_ms <= now_ms]
        for rule_id in over:
            del self._rules[rule_id]
            self._changes[rule_id] = None
        return len(self._rules) >= MAX_RULES

    def _refuse(self, record: UnreadableRule) -> None:
        rule_id = record.rule_id
        if rule_id is not None and len(self._refused) < MAX_RULES:
            self._refused.add(rule_id)
        stays = "the last good one stays" if rule_id in self._rules else "there is no earlier one"
        log.warning(
            "rule_refused", rule_id=rule_id, reason=record.reason, detail=record.detail, remedy=f"put it again; {stays}"
        )
        self.metrics.refused_records.labels(reason=record.reason).inc()
