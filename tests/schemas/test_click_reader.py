import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.click_reader import MAX_CLICKS, REKEYED_HEADER, ClickReader, Clicks, Repair
from schemas.errors import UsageError
from schemas.events import ClickEvent, from_unix_ms, unix_ms
from schemas.mapping import FieldMapping, Rule
from schemas.paths import json_in
from schemas.payload import MAX_VALUE_BYTES
from schemas.times import EARLIEST_TIME_MS, LATEST_TIME_MS
from schemas.validation import MAX_FUTURE_MS, Ignored, Rejection

RECORD_TIME_MS = 1_700_000_000_000
IDENTITY = FieldMapping()


def _click(**changes: Any) -> bytes:
    fields = {"visitor_id": "v1", "event_type": "view", "event_time": RECORD_TIME_MS, "item_id": "i1"} | changes
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def _read(value: Any, mapping: FieldMapping = IDENTITY, key: str | None = "v1", **more: Any) -> Any:
    encoded = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    return ClickReader(mapping).read(None if key is None else key.encode(), encoded, RECORD_TIME_MS, **more)


def _events(value: Any, mapping: FieldMapping = IDENTITY, key: str = "v1", **more: Any) -> tuple[ClickEvent, ...]:
    found = _read(value, mapping, key, **more)
    assert isinstance(found, Clicks), found
    return found.events


def _reason(value: bytes | None, key: str | None = "v1") -> str | None:
    found = _read(value, key=key)
    return found.reason if isinstance(found, Rejection | Ignored) else None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (_click(), None),
        (None, "tombstone"),
        (b"[]", "empty"),
        (_click(event_type="teleport"), "event_type"),
        (b"", "undecodable"),
        (b"\xff\xfe", "undecodable"),
        (b"{", "undecodable"),
        (b"[1]", "invalid_field"),
        (b'{"visitor_id": "v1"}', "invalid_field"),
        (_click(event_type=["view"]), "invalid_field"),
        (_click(visitor_id={"id": 7}), "invalid_field"),
        (_click(visitor_id=""), "invalid_field"),
        (_click(visitor_id="\ud800"), "undecodable"),
        (_click(item_id="x" * 257), "invalid_field"),
        (_click(item_id=True), "invalid_field"),
        (_click(consent="perhaps"), "invalid_field"),
        (_click(consent={"ads": True}), "invalid_field"),
        (_click(event_time="yesterday"), "invalid_field"),
        (_click(event_time=True), "invalid_field"),
        (_click(event_time=None), "invalid_field"),
        (_click(item_id=None), "missing_item"),
        (_click(item_id=""), "missing_item"),
        (_click(item_id=None, event_type="search", query="boots"), None),
        (_click(event_time=EARLIEST_TIME_MS), None),
        (_click(event_time=EARLIEST_TIME_MS // 1000 - 1), "absurd_time"),
        (_click(event_time=RECORD_TIME_MS + MAX_FUTURE_MS), None),
        (_click(event_time=RECORD_TIME_MS + MAX_FUTURE_MS + 1), "absurd_time"),
        (_click(event_time=10**21), "invalid_field"),
        (_click(surprise="extra fields are the shop's own business"), None),
    ],
)
def test_what_is_no_click_gets_its_reason(value: bytes | None, expected: str | None) -> None:
    """Each way to be wrong, or not for us, has one reason; what is right passes."""
    assert _reason(value) == expected


def test_what_is_nested_deeply_is_no_click() -> None:
    """Whether it is deeper than the interpreter's stack depends on its version."""
    assert _reason(b'{"a":' * 5000 + b"1" + b"}" * 5000) in {"undecodable", "invalid_field"}


@pytest.mark.parametrize(
    ("event_time", "expected"),
    [
        (LATEST_TIME_MS, None),
        ("9999-12-31T23:59:59.999Z", None),
        ("9999-12-31T23:59:59.999-00:01", "absurd_time"),
    ],
)
def test_a_time_that_no_output_can_spell_is_refused(event_time: object, expected: str | None) -> None:
    """Not even where the record's timestamp, which the producer sets, is as absurd (microseconds for milliseconds)."""
    mapping = FieldMapping(time_format="rfc3339")
    found = ClickReader(mapping).read(b"v1", _click(event_time=event_time), RECORD_TIME_MS * 1000)
    assert (found.reason if isinstance(found, Rejection) else None) == expected
    if isinstance(found, Clicks):
        assert unix_ms(from_unix_ms(found.events[0].event_time_ms)) == LATEST_TIME_MS


def test_a_producer_that_timestamps_its_records_in_seconds_is_told_so() -> None:
    """It is not the event's time that is wrong."""
    found = ClickReader(IDENTITY).read(b"v1", _click(), RECORD_TIME_MS // 1000)
    assert isinstance(found, Rejection)
    assert (found.reason, "own timestamp, 1700000000," in found.detail) == ("absurd_time", True)


@pytest.mark.parametrize("consent", [False, "no", 0])
def test_consent_that_is_withdrawn_on_a_page_is_no_page_that_is_ignored(consent: object) -> None:
    """Alone or among clicks: the visitor must be forgotten. Without a visitor there is nobody to forget."""
    page = {**json.loads(_click(event_type="page_view", item_id=None)), "consent": consent}
    (event,) = _events(page)
    assert (event.visitor_id, event.consent, event.item_id) == ("v1", False, None)
    assert [click.consent for click in _events([page, json.loads(_click())])] == [False, None]
    assert _reason(json.dumps({**page, "visitor_id": None}).encode()) == "event_type"
    assert _reason(json.dumps({**page, "consent": "perhaps"}).encode()) == "event_type"


def test_giant_values_are_refused_before_decoding() -> None:
    """One byte over the limit is not decoded; the limit itself is, and what is too long for its field is cut."""
    padding = MAX_VALUE_BYTES - len(_click(query=""))
    assert _read(_click(query="x" * padding)).repairs == (Repair("query", "cut"),)
    assert _reason(_click(query="x" * (padding + 1))) == "too_large"


@pytest.mark.parametrize("key", [None, "", "v2", "v1 "])
def test_a_key_that_is_not_the_visitor_is_refused(key: str | None) -> None:
    """A wrong key means a wrong partition, which would split the visitor's state in silence."""
    assert _reason(_click(), key=key) == "key_mismatch"


@pytest.mark.parametrize("event_time", ["2023-11-14T23:13:20.5+01:00", RECORD_TIME_MS + 500, "1700000000.5"])
def test_event_time_is_read_in_whatever_form_it_has(event_time: object) -> None:
    """Text with an offset, milliseconds, seconds as text: the same moment."""
    (event,) = _events(_click(event_time=event_time))
    assert event.event_time_ms == RECORD_TIME_MS + 500


@pytest.mark.parametrize("milliseconds", [0, 1, 999, 1_700_000_000_123, 4_102_444_800_001])
def test_unix_milliseconds_round_trip_exactly(milliseconds: int) -> None:
    """No float touches a time."""
    assert unix_ms(from_unix_ms(milliseconds)) == milliseconds


SHOP = FieldMapping(
    paths={"visitor_id": "user.id", "event_type": "action", "event_time": "ts", "item_id": "product.sku"},
    values={"event_type": {"product_view": "view", "order": "purchase", "404": "reject"}},
    time_format="unix_s",
)


@pytest.mark.parametrize("ts", [1_700_000_000, "1700000000", 1_700_000_000.0])
def test_a_shops_own_json_is_mapped(ts: object) -> None:
    """Paths, value names and the time format come from settings; numeric ids become strings."""
    value = {"user": {"id": 7}, "action": "order", "ts": ts, "product": {"sku": 12}, "price": 3.5}
    assert _events(value, SHOP, "7") == (
        ClickEvent(
            visitor_id="7",  # type: ignore[arg-type]
            event_type="purchase",
            event_time=RECORD_TIME_MS,
            item_id="12",  # type: ignore[arg-type]
            price=3.5,
        ),
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"user": 7}, "invalid_field"),
        ({"ts": "soon"}, "invalid_field"),
        ({"ts": True}, "invalid_field"),
        ({"ts": 1e300}, "absurd_time"),
        ({"action": 404}, "invalid_field"),
        ({"action": "wink"}, "event_type"),
        ({"product": {}}, "missing_item"),
    ],
)
def test_unmappable_json_is_refused(change: dict[str, Any], expected: str) -> None:
    """A path that leads nowhere, an unreadable time or a rejected value is a reason, never an exception."""
    value = {"user": {"id": 7}, "action": "order", "ts": 1_700_000_000, "product": {"sku": 12}} | change
    assert _read(value, SHOP, "7").reason == expected


@pytest.mark.parametrize(
    ("field", "found", "read", "reason"),
    [
        ("quantity", 0, None, "out_of_range"),
        ("quantity", 1.0, 1, None),
        ("quantity", "2", 2, None),
        ("quantity", 0.4, 1, "rounded"),
        ("quantity", True, None, "unreadable"),
        ("price", "", None, None),
        ("price", "12,95", 12.95, "reformatted"),
        ("price", "EUR 1.299,00", 1299.0, "reformatted"),
        ("price", "$1,299", 1299.0, "reformatted"),
        ("price", {"amount": 40, "currency": "EUR"}, 40, "reformatted"),
        ("price", {"centAmount": 950, "fractionDigits": 2}, 9.5, "reformatted"),
        ("price", -1, None, "out_of_range"),
        ("price", "on request", None, "unreadable"),
        ("session_id", "", None, None),
        ("session_id", 77, "77", None),
        ("session_id", ["a"], None, "unreadable"),
        ("event_id", "", None, None),
        ("event_id", {"id": 1}, None, "unreadable"),
        ("query", ["oak", "chair"], "oak chair", "joined"),
        ("query", [], None, None),
        ("query", {"q": "oak"}, None, "unreadable"),
        ("device", "Mozilla " * 40, ("Mozilla " * 16)[:128], "cut"),
        ("device", "", None, None),
        ("location", {"city": "Utrecht"}, None, "unreadable"),
        ("location", None, None, None),
        ("experiment", 3, "3", None),
        ("consent", 1, True, None),
        ("consent", "Granted", True, None),
        ("consent", "no", False, None),
        ("consent", "", None, None),
    ],
)
def test_a_describing_field_never_refuses_a_click(field: str, found: Any, read: Any, reason: str | None) -> None:
    """It is read, repaired or left out, and a repair is told by field and reason."""
    clicks = _read(
        {"visitor_id": "v1", "event_type": "view", "event_time": RECORD_TIME_MS, "item_id": "i", field: found}
    )
    assert isinstance(clicks, Clicks), clicks
    assert getattr(clicks.events[0], field) == read
    assert clicks.repairs == (() if reason is None else (Repair(field, reason),))  # type: ignore[arg-type]


WIDEST = "\U0001f600" * 32
"""128 bytes in UTF-8."""
NAMED = FieldMapping(paths={"item_id": ["item", "item_id"]})
"""Reads the same fields, but none of the records as ours."""


@pytest.mark.parametrize("mapping", [IDENTITY, NAMED])
def test_ids_are_bounded_in_bytes(mapping: FieldMapping) -> None:
    """As state and topics are sized; in characters a stranger could send four times as much."""
    fields = {"item_id": WIDEST, "session_id": WIDEST, "event_id": WIDEST, "device": WIDEST, "location": WIDEST}
    clicks = _read(_click(visitor_id=WIDEST, **fields), mapping, WIDEST)
    assert clicks.repairs == ()
    assert {getattr(clicks.events[0], name) for name in fields} == {WIDEST}
    for name in ("visitor_id", "item_id"):
        refused = _read(_click(**{name: WIDEST + "x"}), mapping, WIDEST + "x" if name == "visitor_id" else "v1")
        assert (refused.reason, "129 bytes" in refused.detail) == ("invalid_field", True)
    longer = _read(_click(**{name: "x" + text for name, text in fields.items() if name != "item_id"}), mapping)
    assert {(one.field, one.reason) for one in longer.repairs} == {
        ("session_id", "hashed"),
        ("event_id", "hashed"),
        ("device", "cut"),
        ("location", "cut"),
    }
    assert longer.events[0].device == "x" + WIDEST[:31]
    assert _read(_click(anonymous_id=WIDEST + "x"), mapping).repairs == (Repair("anonymous_id", "unreadable"),)


@pytest.mark.parametrize("mapping", [IDENTITY, NAMED])
def test_an_id_with_a_nul_is_none(mapping: FieldMapping) -> None:
    """Faust and we name our own entries of the local tables with it, so such a visitor would overwrite one."""
    own = "__faust\0offset__"
    for name, key in (("visitor_id", own), ("item_id", "v1")):
        assert _read(_click(**{name: own}), mapping, key).reason == "invalid_field"
    assert _read(_click(anonymous_id=own), mapping).repairs == (Repair("anonymous_id", "unreadable"),)


def test_an_id_that_is_too_long_stays_unique() -> None:
    """Its hash stands for it, so that two of them remain two."""
    first, second = (_read(_click(event_id="x" * 300 + end)) for end in "ab")
    assert first.repairs == second.repairs == (Repair("event_id", "hashed"),)
    assert first.events[0].event_id != second.events[0].event_id


ORDER = {
    "user": "v1",
    "type": "Order Completed",
    "at": "2023-11-14T22:13:20Z",
    "id": "m1",
    "price": 59.0,
    "order": {"lines": [{"sku": "chair", "price": 40}, {"sku": "lamp", "price": "9,50", "quantity": 2}]},
}
LINES = FieldMapping(
    paths={
        "visitor_id": "user",
        "event_type": "type",
        "event_time": "at",
        "event_id": "id",
        "item_id": ("order.lines[].sku", "sku"),
    },
    values={"event_type": {"Order Completed": "purchase", "Viewed": "view"}},
)


def test_an_order_is_a_click_for_each_line() -> None:
    """Item, price and pieces are the line's own, never the order's; visitor, time and id are those of the order."""
    found = _read(ORDER, LINES)
    assert [(click.item_id, click.price, click.quantity, click.event_id) for click in found.events] == [
        ("chair", 40, None, "m1"),
        ("lamp", 9.5, 2, "m1"),
    ]
    assert found.repairs == (Repair("price", "reformatted"),)


def test_a_record_without_lines_is_read_by_the_next_path() -> None:
    """The first path that leads to something counts; beside a single item, price and pieces are the event's."""
    (event,) = _events({**ORDER, "type": "Viewed", "order": {"lines": []}, "sku": "rug"}, LINES)
    assert (event.event_type, event.item_id, event.price) == ("view", "rug", 59)


def test_a_line_without_an_item_is_left_out_and_told() -> None:
    """Shipping and vouchers are lines, too; an order of nothing else is none."""
    lines = {"lines": [{"sku": "chair"}, {"shipping": 5}, {"sku": {"broken": 1}}]}
    found = _read({**ORDER, "order": lines}, LINES)
    assert [click.item_id for click in found.events] == ["chair"]
    assert sorted(repair.reason for repair in found.repairs) == ["no_item", "rejected"]
    assert _read({**ORDER, "order": {"lines": [{"shipping": 5}]}}, LINES).reason == "missing_item"


def test_lists_in_lists_are_one_list_of_lines() -> None:
    """A field may be the line's or that of the parcel around it."""
    mapping = FieldMapping(
        paths={"item_id": "parcels[].lines[]", "location": "parcels[].city"},
        constants={"event_type": "purchase"},
    )
    value = {
        "visitor_id": "v1",
        "event_time": RECORD_TIME_MS,
        "parcels": [{"city": "Delft", "lines": ["a", 7]}, {"city": "Gouda", "lines": ["c"]}],
    }
    assert [(click.item_id, click.location) for click in _events(value, mapping)] == [
        ("a", "Delft"),
        ("7", "Delft"),
        ("c", "Gouda"),
    ]


def test_more_lines_than_can_be_kept_are_told() -> None:
    """The bound is the record's, however its clicks are listed."""
    mapping = FieldMapping(paths={"item_id": "items[]"})
    base = {"visitor_id": "v1", "event_type": "cart", "event_time": RECORD_TIME_MS}
    found = _read({**base, "items": [str(n) for n in range(MAX_CLICKS + 5)]}, mapping)
    assert len(found.events) == MAX_CLICKS
    assert found.repairs == (Repair("click", "too_many"),)


def test_a_list_of_events_is_one_record_of_several_clicks() -> None:
    """As a JSON list, a document a line, or at a path; what is not for us in it is passed over."""
    one, other = json.loads(_click(event_id="1")), json.loads(_click(event_id="2", item_id="i2"))
    page = json.loads(_click(event_type="page_view", item_id=None))
    batch = {"sent": 1, "batch": [one, page, other]}
    forms = [
        (json.dumps([one, page, other]).encode(), IDENTITY),
        (b"\n".join(json.dumps(event).encode() for event in (one, page, other)), IDENTITY),
        (json.dumps(batch).encode(), FieldMapping(events="batch")),
        (json.dumps(batch).encode(), FieldMapping(events="batch[]")),
        (json.dumps({"batch": json.dumps([one, page, other])}).encode(), FieldMapping(events="batch[]")),
    ]
    for value, mapping in forms:
        assert [click.item_id for click in _events(value, mapping)] == ["i1", "i2"], value


def test_a_batch_keeps_what_is_good_and_tells_what_is_not() -> None:
    """One bad event costs itself only; with nothing good in it the batch is a dead letter, or not for us."""
    good, bad = json.loads(_click()), json.loads(_click(event_time="soon"))
    assert _read([good, bad]).repairs == (Repair("click", "rejected"),)
    assert _read([bad, bad]).reason == "invalid_field"
    assert _read([{"event_type": "scroll"}, {"event_type": "page"}]) == Ignored(
        "event_type", "event_type 'scroll' is no interaction"
    )


def test_the_object_around_a_batch_can_be_reached() -> None:
    """Who it is may stand outside of the list."""
    mapping = FieldMapping(events="actions", paths={"visitor_id": "$outer.visitor"})
    value = {"visitor": "v1", "actions": [{"event_type": "view", "event_time": RECORD_TIME_MS, "item_id": "a"}]}
    assert [click.visitor_id for click in _events(value, mapping)] == ["v1"]


def test_each_batch_of_a_list_has_its_own_object_around() -> None:
    """Several visits in one record; a path that begins in the list goes through it itself."""
    action = {"event_type": "view", "event_time": RECORD_TIME_MS}
    visits = [{"visitor": "v1", "visit": n, "actions": [action | {"item_id": n}]} for n in (1, 2)]
    paths = {"visitor_id": "$outer.visitor", "session_id": "$outer.visit"}
    found = _events(visits, FieldMapping(events="actions", paths=paths))
    assert [(click.item_id, click.session_id) for click in found] == [("1", "1"), ("2", "2")]
    whole = FieldMapping(events="[].actions[]", paths={"visitor_id": "$outer[0].visitor"})
    assert [click.item_id for click in _events(visits, whole)] == ["1", "2"]


def test_a_word_of_the_mapping_means_nothing_in_a_record() -> None:
    """A shop's own event that is called `reject` is one that is not listed; our types hold in our own format only."""
    assert _reason(_click(event_type="reject")) == "event_type"
    segment = FieldMapping(format="segment")
    assert _read({"event": "purchase", "anonymousId": "v1"}, segment).reason == "event_type"


def test_a_batch_of_several_visitors_belongs_to_its_key_only_where_it_was_copied() -> None:
    """As it came it would lose the others' events, so it is refused; the copies of `rekey` read their own."""
    batch = [json.loads(_click(visitor_id=visitor, item_id=visitor)) for visitor in ("v1", "v2", "v1")]
    assert _read(batch).reason == "key_mismatch"
    copied = [(REKEYED_HEADER, b"")]
    assert [click.item_id for click in _events(batch, key="v2", headers=copied)] == ["v2"]
    assert _read(batch, key="v3", headers=copied).reason == "key_mismatch"
    assert ClickReader(IDENTITY).visitor_ids(None, json.dumps(batch).encode()) == ("v1", "v2")


def test_rules_read_some_records_otherwise() -> None:
    """The first rule that holds counts, for the fields that it names."""
    mapping = FieldMapping(
        paths={"visitor_id": ("customer", "cookie"), "item_id": "sku", "event_time": ("at", "$record.timestamp")},
        constants={"event_type": "view"},
        rules=(
            Rule(when={"kind": "order", "state": "paid"}, constants={"event_type": "purchase"}),
            Rule(when={"kind": "*"}, paths={"item_id": "article"}, constants={"event_type": "ignore"}),
        ),
    )
    (viewed,) = _events({"cookie": "v1", "customer": "", "sku": "a"}, mapping)
    assert (viewed.event_type, viewed.item_id, viewed.event_time_ms) == ("view", "a", RECORD_TIME_MS)
    (bought,) = _events({"customer": "v1", "cookie": "c", "kind": "order", "state": "paid", "sku": "a"}, mapping)
    assert bought.event_type == "purchase"
    assert _read({"customer": "v1", "kind": "order", "state": "open", "sku": "a"}, mapping).reason == "event_type"


def test_the_record_itself_can_be_read() -> None:
    """Its key, its timestamp and its headers are places like any other."""
    mapping = FieldMapping(
        paths={
            "visitor_id": "$record.key",
            "event_time": "$record.timestamp",
            "event_type": "$record.headers.ce_type",
            "event_id": '$record.headers."ce_id"',
        },
        time_format="unix_s",
    )
    (event,) = _events({"item_id": "a"}, mapping, headers=[("ce_type", b"view"), ("ce_id", b"1")])
    assert (event.visitor_id, event.event_time_ms, event.event_id) == ("v1", RECORD_TIME_MS, "1")


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [("shop.product.viewed.v1", "view"), ("shop.order.placed.v2", "purchase"), ("x.login", "event_type"), (3, "cart"),
     (3.0, "cart"), ("view", "view"), ("odd", "invalid_field")],
)  # fmt: skip
def test_event_types_are_named_by_text_and_pattern(theirs: object, expected: str) -> None:
    """Numbers go by their text; a star stands for any text; our own names need no entry; the rest is not for us."""
    names = {"*.product.viewed.*": "view", "*.placed.*": "purchase", "3": "cart", "odd": "reject", "*": "ignore"}
    found = _read(json.loads(_click(event_type=theirs)), FieldMapping(values={"event_type": names}))
    assert (found.reason if isinstance(found, Ignored | Rejection) else found.events[0].event_type) == expected


@pytest.mark.parametrize(
    ("value", "visitors"),
    [
        (b'{"user": "v"}', ("v",)),
        (b'{"user": 7, "at": "never"}', ("7",)),
        ('{"user": "ü€"}'.encode(), ("ü€",)),
        (None, "tombstone"),
        (b" " * (MAX_VALUE_BYTES + 1), "too_large"),
        (b"\xff", "undecodable"),
        (b"[]", "empty"),
        (b'{"type": "Order Completed"}', "invalid_field"),
        (b'{"type": "page"}', "event_type"),
        (b'{"user": ""}', "invalid_field"),
        (b'{"user": true}', "invalid_field"),
    ],
)
def test_the_visitor_of_a_record_is_found_whatever_else_is_wrong(value: bytes | None, visitors: Any) -> None:
    """So it can be keyed anew; what the worker refuses for another reason it refuses later."""
    found = ClickReader(LINES).visitor_ids(b"key", value)
    assert (found if isinstance(found, tuple) else found.reason) == visitors


@pytest.mark.parametrize(
    "arguments",
    [
        {"paths": {"visitor": "a"}},
        {"values": {"x": {}}},
        {"values": {"event_type": {"a": "teleport"}}},
        {"constants": {"event_type": "teleport"}},
        {"paths": {"visitor_id": "a..b"}},
        {"paths": {"visitor_id": ()}},
        {"paths": {"visitor_id": "a[b"}},
        {"events": ""},
        {"time_format": "stardate"},
        {"time_zone": "Europe/Atlantis"},
        {"format": "carrier-pigeon"},
        {"rules": (Rule(when={}),)},
        {"rules": (Rule(when={"a": "*"}, paths={"nothing": "a"}),)},
    ],
)
def test_a_mapping_that_names_what_does_not_exist_is_refused_at_once(arguments: dict[str, Any]) -> None:
    """A typo in the mapping stops the start, with the setting's name in the message."""
    with pytest.raises(UsageError, match=r"clickstream\.mapping"):
        FieldMapping(**arguments)


NAMES = ["user", "id", "type", "at", "order", "lines", "sku", "price"]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["user", "id", "type", "at", "order", "lines", "sku", "price"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(value=JSON_VALUES, field=st.sampled_from(["price", "quantity", "query", "session_id", "event_id", "location"]))
def test_nothing_that_a_describing_field_holds_refuses_a_click(value: Any, field: str) -> None:
    """Whatever JSON stands there."""
    found = _read({**json.loads(_click()), field: value})
    assert isinstance(found, Clicks), found
    assert len(found.events) == 1


@given(value=JSON_VALUES)
def test_nothing_that_a_record_holds_is_an_exception(value: Any) -> None:
    """A record is clicks, not for us, or rejected."""
    encoded = json.dumps(value).encode()
    for mapping in (IDENTITY, LINES, FieldMapping(events="order.lines[]", paths=LINES.paths)):
        reader = ClickReader(mapping)
        assert isinstance(reader.read(b"v1", encoded, RECORD_TIME_MS), Clicks | Ignored | Rejection)
        assert isinstance(reader.visitor_ids(b"v1", encoded), tuple | Ignored | Rejection)


def test_a_text_around_a_batch_is_decoded_once_for_all_its_events() -> None:
    """Every field of every event looks into it; a record must not hold up a partition for seconds."""
    fields = {"visitor_id": "v1", "event_type": "view", "event_time": RECORD_TIME_MS, "item_id": "i1"}
    paths: dict[str, str | tuple[str, ...]] = {name: f"$outer.context.{name}" for name in fields}
    mapping = FieldMapping(events="events", paths=paths)
    value = {"context": json.dumps({**fields, "padding": [1] * 10_000}), "events": [{}] * 900}
    before = json_in.cache_info().misses
    clicks = ClickReader(mapping).read(b"v1", json.dumps(value).encode(), RECORD_TIME_MS)
    assert isinstance(clicks, Clicks)
    assert len(clicks.events) == 900
    assert json_in.cache_info().misses == before + 1
