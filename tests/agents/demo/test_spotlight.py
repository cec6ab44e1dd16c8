"""The sessions to look at closely."""

from agents.demo.spotlight import SIZE, STALE_MS, ShownClick, Spotlight
from schemas.ids import VisitorId
from tests.agents.demo.builders import answer, click


def _browse(spotlight: Spotlight, visitor: str, now_ms: int = 0) -> None:
    spotlight.saw(click("a", visitor=visitor), answer("b"), now_ms, was_hit=None)
    spotlight.saw(click("b", visitor=visitor), answer("cd"), now_ms, was_hit=True)


def test_a_session_is_shown_from_its_second_view_on() -> None:
    """A bounce is not worth looking at; then clicks, hits and the latest answer are there."""
    spotlight = Spotlight()
    spotlight.saw(click("a", visitor="bounced"), answer("b"), 0, was_hit=None)
    _browse(spotlight, "v")
    (session,) = spotlight.sessions()
    assert session.visitor_id == "v"
    assert session.clicks == (
        ShownClick("view", click("a").item_id, None),
        ShownClick("view", click("b").item_id, True),
    )
    assert session.next_items == ("c", "d")


def test_a_new_session_of_a_visitor_starts_afresh() -> None:
    """Clicks of the last session are gone."""
    spotlight = Spotlight()
    _browse(spotlight, "v")
    spotlight.saw(click("z", visitor="v"), answer("y", session="other"), 1, was_hit=None)
    (session,) = spotlight.sessions()
    assert [shown.item_id for shown in session.clicks] == ["z"]


def test_a_silent_session_gives_way_in_place() -> None:
    """Others keep their places; one that is not silent does not give way."""
    spotlight = Spotlight()
    for number in range(SIZE):
        _browse(spotlight, f"v{number}", now_ms=0 if number == 1 else 10)
    _browse(spotlight, "early", now_ms=STALE_MS)
    assert [session.visitor_id for session in spotlight.sessions()] == ["v0", "v1", "v2"]
    _browse(spotlight, "next", now_ms=STALE_MS + 1)
    assert [session.visitor_id for session in spotlight.sessions()] == ["v0", "next", "v2"]


def test_the_latest_intent_signal_is_shown() -> None:
    """A signal for someone else changes nothing."""
    spotlight = Spotlight()
    _browse(spotlight, "v")
    spotlight.signalled(VisitorId("v"), 0.5)
    spotlight.signalled(VisitorId("other"), 0.9)
    (session,) = spotlight.sessions()
    assert session.purchase_probability == 0.5
