from datetime import timedelta
from typing import Any

import pytest

from schemas.errors import UsageError
from streams.sessions.rules import SessionRules


@pytest.mark.parametrize(
    "fields",
    [
        {"grace_period": timedelta(minutes=30)},
        {"inactivity_gap": timedelta(hours=13)},
        {"grace_period": timedelta(seconds=-1)},
        {"visitor_retention": timedelta(hours=1)},
        {"max_kept_events": 0},
    ],
)
def test_contradictory_rules_are_refused(fields: dict[str, Any]) -> None:
    """Rules that cannot hold together stop the start, with their names in the message."""
    with pytest.raises(UsageError, match="sessions"):
        SessionRules(**fields)
