"""The rule that names a shopping pattern."""

import pytest

from schemas.events import EventType
from schemas.ids import ItemId
from schemas.records import Pattern, SessionEvent
from session_model.intent.patterns import pattern_of


def session(script: str) -> list[SessionEvent]:
    """Make events of words like view:a; a search has no item."""
    words = [word.partition(":") for word in script.split()]
    return [
        SessionEvent(_event_type(name), n, ItemId(item) if item else None) for n, (name, _, item) in enumerate(words)
    ]


def _event_type(name: str) -> EventType:
    assert name in {"view", "cart", "remove", "purchase", "favorite", "search"}
    return name  # type: ignore[return-value] # checked above


@pytest.mark.parametrize(
    ("script", "pattern"),
    [
        ("", "browsing"),
        ("view:a view:b view:c", "browsing"),
        ("view:a view:b view:c view:d", "exploring"),
        ("view:a search", "exploring"),
        ("view:a view:a", "browsing"),
        ("view:a view:b view:a view:c view:a", "focused"),
        ("view:a view:b view:c view:d favorite:d", "focused"),
        ("view:a cart:a view:b view:c view:d view:e", "deciding"),
        ("view:a cart:a remove:a", "focused"),
        ("view:a cart:a purchase:a view:b view:c view:d view:e view:f view:g view:h view:i view:j", "exploring"),
        ("cart:a cart:b purchase:a", "deciding"),
        ("search " + "view:a view:b " * 5, "focused"),
        (
            "view:a view:a view:a " + "view:b search view:c view:d view:e view:f view:g view:h view:i view:j",
            "exploring",
        ),
    ],
)
def test_the_first_rule_that_holds_decides(script: str, pattern: Pattern) -> None:
    """Cart before returns and favorites, those before variety and search, and only the latest ten events count."""
    assert pattern_of(session(script)) == pattern
