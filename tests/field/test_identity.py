"""Shops that name a shopper by a cookie and, after a login, by a customer id; contents made by hand."""

import json
from typing import Any

import pytest

from schemas.click_reader import ClickReader, Clicks
from schemas.ids import ItemId, VisitorId
from schemas.mapping import FieldMapping
from tests.streams.two_ids import Deployment

_MAPPING = FieldMapping(
    paths={
        "visitor_id": ("userId", "anonymousId"),
        "anonymous_id": ("previousId", "anonymousId"),
        "event_type": ("event", "type"),
        "item_id": "properties.product_id",
        "event_time": "timestamp",
        "event_id": "messageId",
    },
    values={
        "event_type": {"Product Viewed": "view", "Product Added": "cart", "alias": "identify", "identify": "identify"}
    },
)
_TIME_MS = 1_795_168_801_000


def _track(number: int, user_id: str | None, **fields: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "messageId": f"m{number}",
        "anonymousId": "anon-1",
        "userId": user_id,
        "event": "Product Viewed",
        "timestamp": _TIME_MS + 1000 * number,
        "properties": {"product_id": f"p{number}"},
    } | fields


def _clicks(record: dict[str, Any]) -> Clicks:
    key = str(record["userId"] or record["anonymousId"]).encode()
    clicks = ClickReader(_MAPPING).read(key, json.dumps(record).encode(), record["timestamp"])
    assert isinstance(clicks, Clicks)
    return clicks


def test_a_login_in_mid_session_is_one_session_of_the_customer() -> None:
    """C1: two events of the cookie, two that name both: one session of four events, under the customer."""
    deployment = Deployment(partitions=2)
    for record in (_track(1, None), _track(2, None), _track(3, "user-7", event="Product Added"), _track(4, "user-7")):
        for event in _clicks(record).events:
            deployment.write(event)
        deployment.settle()
    ((owner, session),) = deployment.sessions()
    assert (owner, session.event_count) == (VisitorId("user-7"), 4)
    assert [event.item_id for event in session.events] == [ItemId(f"p{number}") for number in range(1, 5)]


@pytest.mark.parametrize(
    "login",
    [
        {"type": "alias", "event": None, "previousId": "anon-1", "anonymousId": None},
        {"type": "identify", "event": None, "traits": {"email": "a@example.org"}},
    ],
)
def test_an_alias_keeps_the_session_where_no_click_names_both(login: dict[str, Any]) -> None:
    """The customer's clicks do not name the cookie any more; the event between them is part of no session."""
    deployment = Deployment(partitions=2)
    known = _track(4, "user-7", anonymousId=None)
    for record in (_track(1, None), _track(2, None), _track(3, "user-7", **login), known):
        for event in _clicks(record).events:
            deployment.write(event)
        deployment.settle()
    ((owner, session),) = deployment.sessions()
    assert (owner, [event.item_id for event in session.events]) == ("user-7", ["p1", "p2", "p4"])


@pytest.mark.parametrize("anonymous_id", [["a"], {"id": "a"}, True, "a" * 257, "\ud800"])
def test_an_earlier_id_that_could_be_no_visitor_is_left_out_and_counted(anonymous_id: Any) -> None:
    """It describes the click only, which is answered all the same."""
    clicks = _clicks(_track(1, "user-7", anonymousId=anonymous_id))
    assert [event.anonymous_id for event in clicks.events] == [None]
    assert [(repair.field, repair.reason) for repair in clicks.repairs] == [("anonymous_id", "unreadable")]


@pytest.mark.parametrize(("anonymous_id", "read"), [(17, "17"), ("", None), (None, None)])
def test_an_earlier_id_is_read_as_visitors_are(anonymous_id: Any, read: str | None) -> None:
    """A number is its text, as it is in the key; an empty text names nobody."""
    clicks = _clicks(_track(1, "user-7", anonymousId=anonymous_id))
    assert [event.anonymous_id for event in clicks.events] == [read]
    assert clicks.repairs == ()
