from typing import Any, get_args

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from schemas import wire
from schemas.places import LocationSettings
from schemas.rules import UnreadableRuleReason
from serving.rules import view as view_module
from serving.rules.book import Asked
from serving.rules.view import RuleMetrics, RuleView
from tests.serving.rules.builders import rule


class Shop:
    """A view of rules with its metrics, at a time of its own."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.registry = CollectorRegistry()
        self.view = RuleView(RuleMetrics(self.registry), LocationSettings(separator=":"), lambda: self.now_ms)

    def put(self, rule_id: str, **fields: Any) -> None:
        """Put a block of an item."""
        record = rule(rule_id, "block", **{"items": "a", **fields})
        self.view.apply(rule_id.encode(), wire.encode(record))

    def ids(self) -> list[str]:
        """Return which rules there are."""
        return [one.rule_id for one in self.view.book.rules]

    def value(self, name: str, **labels: str) -> float | None:
        """Read a metric."""
        return self.registry.get_sample_value(f"insession_{name}", labels)


@pytest.fixture
def shop() -> Shop:
    """Return a view without rules."""
    return Shop()


def test_the_latest_record_of_a_rule_counts_and_a_tombstone_ends_it(shop: Shop) -> None:
    """As the topic is compacted."""
    shop.put("r")
    shop.put("s", items="b")
    shop.put("r", items="c")
    assert shop.ids() == ["r", "s"]
    assert shop.view.book.rules[0].items == ("c",)
    shop.view.apply(b"r", None)
    shop.view.apply(b"unknown", None)
    assert shop.ids() == ["s"]


def test_a_record_that_cannot_be_read_leaves_the_last_good_one_and_is_told(shop: Shop) -> None:
    """One log line, one count by reason; the next good record, or a tombstone, mends it."""
    shop.put("r")
    with capture_logs() as logs:
        shop.view.apply(b"r", b'{"rule_id": "r", "action": "hide"}')
        shop.view.apply(b"s", b"{")
        shop.view.apply(None, b"{}")
    assert shop.ids() == ["r"]
    told = [(line["event"], line["rule_id"], line["reason"]) for line in logs]
    assert told == [
        ("rule_refused", "r", "invalid_rule"),
        ("rule_refused", "s", "undecodable"),
        ("rule_refused", None, "unreadable_key"),
    ]
    assert "the last good one stays" in logs[0]["remedy"]
    assert shop.value("rules_refused") == 2
    assert shop.value("refused_rule_records_total", reason="undecodable") == 1
    assert shop.value("refused_rule_records_total", reason="too_many") == 0
    shop.put("r")
    shop.view.apply(b"s", None)
    assert shop.value("rules_refused") == 0


def test_rules_are_bounded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused; those that are there can be changed all the same."""
    monkeypatch.setattr(view_module, "MAX_RULES", 2)
    for rule_id in ("r", "s", "t"):
        shop.put(rule_id)
    shop.put("s", items="b")
    assert shop.ids() == ["r", "s"]
    assert shop.view.book.rules[1].items == ("b",)
    assert shop.value("refused_rule_records_total", reason="too_many") == 1


def test_rules_that_are_over_make_room(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shop with rules for each day must not be refused a block after a year; what is over changes no list."""
    monkeypatch.setattr(view_module, "MAX_RULES", 2)
    shop.put("old", ends_at="1970-01-01T00:00:02Z")
    shop.put("r")
    shop.now_ms = 1_999
    shop.put("s")
    assert shop.ids() == ["old", "r"]
    shop.now_ms = 2_000
    shop.put("s")
    assert shop.ids() == ["r", "s"]
    shop.put("t")
    assert shop.ids() == ["r", "s"]


def test_the_rules_in_force_are_counted_when_somebody_looks(shop: Shop) -> None:
    """A window opens and closes without a record."""
    shop.put("r")
    shop.put("s", starts_at="1970-01-01T00:00:01Z", ends_at="1970-01-01T00:00:02Z")
    counts = []
    for shop.now_ms in (999, 1000, 2000):
        counts.append(shop.value("rules_in_force"))
    assert counts == [1, 2, 1]


def test_a_change_is_in_the_next_plan_and_unchanged_rules_are_not_compiled_again(shop: Shop) -> None:
    """Places by the view's own separator."""
    shop.put("r", where=["nl"])
    book = shop.view.book
    assert book is shop.view.book
    assert book.plan(Asked(0, "nl:ams"), "model") is not None
    shop.view.apply(b"r", None)
    assert shop.view.book.plan(Asked(0, "nl:ams"), "model") is None


def test_every_reason_has_a_series_from_the_start(shop: Shop) -> None:
    """An alert needs that."""
    reasons = get_args(UnreadableRuleReason)
    assert [shop.value("refused_rule_records_total", reason=reason) for reason in reasons] == [0] * len(reasons)
