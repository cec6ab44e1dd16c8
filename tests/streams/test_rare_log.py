from typing import Any

import pytest
import structlog

from streams.rare_log import RareLog


@pytest.mark.parametrize("level", ["info", "warning"])
def test_a_kind_is_logged_at_once_and_then_at_each_power_of_ten(level: str) -> None:
    """Kinds are told apart by event, reason and field; what else a line says does not matter."""
    with structlog.testing.capture_logs() as entries:
        rare: Any = RareLog(structlog.get_logger())
        for number in range(100):
            getattr(rare, level)("odd", reason="a", number=number)
        getattr(rare, level)("odd", reason="b")
    assert [(one["reason"], one["count"], one["log_level"]) for one in entries] == [
        ("a", 1, level),
        ("a", 10, level),
        ("a", 100, level),
        ("b", 1, level),
    ]
