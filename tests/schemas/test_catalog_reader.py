import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import wire
from schemas.availability import moment_ms
from schemas.catalog_mapping import CatalogMapping
from schemas.catalog_reader import CatalogReader, DescribedItem, RemovedItem, UnreadableItem
from schemas.errors import UsageError
from schemas.events import MAX_PRICE
from schemas.ids import MAX_ID_BYTES, ItemId
from schemas.records import MAX_LOCATIONS, MAX_TITLE_LENGTH, CatalogItem, Sale

OURS = CatalogMapping()


def _read(value: Any, mapping: CatalogMapping = OURS, key: bytes | None = b"tv") -> Any:
    encoded = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    return CatalogReader(mapping).read(key, encoded)


def _item(value: Any, mapping: CatalogMapping = OURS, key: bytes = b"tv") -> CatalogItem:
    found = _read(value, mapping, key)
    assert isinstance(found, DescribedItem), found
    return found.item


def _fields(**fields: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what is read of these fields of an item, and the repairs that it took."""
    found = _read({"item_id": "tv", **fields})
    assert isinstance(found, DescribedItem), found
    return {name: getattr(found.item, name) for name in fields}, dict(found.repairs)


@pytest.mark.parametrize(
    ("said", "is_available"),
    [
        (True, True),
        (1, True),
        (12.0, True),
        ("3", True),
        (0, False),
        (0.0, False),
        (-2, False),
        ("0", False),
        ("-1.0", False),
        ("true", True),
        ("FALSE", False),
        ("no", False),
        ("Y", True),
        (" in stock ", True),
        ("in_stock", True),
        ("OutOfStock", False),
        ("sold-out", False),
        ("https://schema.org/InStock", True),
        ("http://schema.org/SoldOut", False),
        ("schema:PreOrder", True),
        ("Discontinued", False),
        ([0, 2], True),
        (["no", False], False),
    ],
)
def test_availability_is_read_in_many_spellings(said: Any, *, is_available: bool) -> None:
    """Pieces, words, schema.org's terms, and lists of variants, of which one is enough."""
    assert _item({"item_id": "tv", "available": said}).available is is_available


@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "perhaps",
        "0 in stock",
        "in stock: no",
        "N/A",
        "нет",
        "InStoreOnly",
        "nan",
        "1e999",
        {"quantity": 3},
        [],
        [1, None],
        [[1]],
    ],
)
def test_availability_that_is_not_clear_closes_the_item(said: Any) -> None:
    """Nobody guesses what would show a sold-out item."""
    found = _read({"item_id": "tv", "available": said})
    assert isinstance(found, UnreadableItem)
    assert (found.item_id, found.reason) == ("tv", "unclear_availability")


def test_an_item_that_says_nothing_of_it_is_available() -> None:
    """As the schema says; but a mapping that states where availability is must find it there, or a constant."""
    assert _item({"item_id": "tv"}).available
    stock = {"item_id": "sku", "available": "stock.pieces"}
    found = _read({"sku": "tv", "price": 3}, CatalogMapping(paths=stock))
    assert isinstance(found, UnreadableItem)
    assert "catalog.mapping.constants.available" in found.detail
    assert not _item({"sku": "tv"}, CatalogMapping(paths=stock, constants={"available": "false"})).available


@pytest.mark.parametrize(
    ("key", "item_id"),
    [
        (b"tv", "tv"),
        (b'"tv"', "tv"),
        (b'"tv', '"tv'),
        (b"7", "7"),
        (b'{"sku": 7}', "7"),
        (b'{"schema": {"type": "struct"}, "payload": {"sku": "tv"}}', "tv"),
        (b'\x00\x00\x00\x00\x2a"tv"', "tv"),
    ],
)
def test_the_key_says_which_item_it_is(key: bytes, item_id: str) -> None:
    """A text, a JSON text, an object of one value, maybe framed: of descriptions, tombstones and garbage alike."""
    assert _item({"available": 1}, key=key).item_id == item_id
    assert _item({"item_id": int(item_id) if item_id.isdigit() else item_id}, key=key).item_id == item_id
    assert _read(None, key=key) == RemovedItem(item_id)  # type: ignore[arg-type]
    assert _read(b"\xff\x00", key=key).item_id == item_id


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"item_id": "radio"}, "key_mismatch"),
        ({"item_id": ["tv"]}, "invalid_field"),
        ({"item_id": True}, "invalid_field"),
        ({"item_id": "\ud800"}, "invalid_field"),
        ({"sku": "tv", "stock": 0}, "invalid_field"),
        ([{"item_id": "tv"}, {"item_id": "tv"}], "invalid_field"),
        (7, "invalid_field"),
        (b"", "undecodable"),
        (b"\x00\x00\x00\x00\x07\x04tv", "undecodable"),
        (gzip.compress(b"{}", mtime=0)[:-3], "undecodable"),
    ],
)
def test_what_cannot_be_read_closes_the_item_of_the_key_and_no_other(value: Any, reason: str) -> None:
    """Each has its reason; what the value names beside the key stays as it was."""
    found = _read(value)
    assert isinstance(found, UnreadableItem)
    assert (found.item_id, found.reason) == ("tv", reason)


@pytest.mark.parametrize(
    ("name", "said", "read", "repair"),
    [
        ("title", "", None, None),
        ("title", 7, "7", None),
        ("title", "x" * 2_000, "x" * MAX_TITLE_LENGTH, "cut"),
        ("title", {"en-GB": "Chair", "de": "Stuhl"}, "Chair", "reformatted"),
        ("title", ["red", "chair"], "red chair", "joined"),
        ("title", True, None, "unreadable"),
        ("category", ["Home", "Chairs"], "Home > Chairs", "joined"),
        ("category", [{"id": 3, "name": "Chairs"}], "Chairs", "reformatted"),
        ("category", [], None, None),
        ("category", {"path": []}, None, "unreadable"),
        ("price", "12,95", 12.95, "reformatted"),
        ("price", {"amount": "9.50", "currency": "EUR"}, 9.5, "reformatted"),
        ("price", "", None, None),
        ("price", -1, None, "out_of_range"),
        ("price", MAX_PRICE * 2, None, "out_of_range"),
        ("price", [1, 2], None, "unreadable"),
        ("locations", "Oslo", ["Oslo"], "reformatted"),
        ("locations", ["Oslo", 7, {"name": "Rome"}], ["Oslo", "7", "Rome"], None),
        ("locations", ["Oslo", None], ["Oslo"], "unreadable"),
        ("locations", {"city": 1, "zip": 2}, [], "unreadable"),
        ("locations", "", None, None),
        ("locations", [str(n) for n in range(1_100)], [str(n) for n in range(MAX_LOCATIONS)], "cut"),
        ("variant_group", 7, "7", None),
        ("variant_group", "", None, None),
        ("variant_group", {"id": 1}, None, "unreadable"),
    ],
)
def test_a_describing_field_never_refuses_an_item(name: str, said: Any, read: Any, repair: str | None) -> None:
    """It is read, repaired or dropped; places that cannot be read are none, since the item may not be sold there."""
    assert _fields(**{name: said}) == ({name: read}, {} if repair is None else {name: repair})


def test_long_ids_of_groups_stay_apart() -> None:
    """Variants are told by the hash of a group that is too long."""
    (one, _), (other, repairs) = (_fields(variant_group="g" * MAX_ID_BYTES + end) for end in "ab")
    assert one != other
    assert repairs == {"variant_group": "hashed"}


@pytest.mark.parametrize(
    "value",
    [
        gzip.compress(b'{"item_id": "tv", "available": 0}', mtime=0),
        b'\xef\xbb\xbf{"item_id": "tv", "available": "no"}',
        b'\x00\x00\x00\x00\x07{"item_id": "tv", "available": false}',
        b'"{\\"item_id\\": \\"tv\\", \\"available\\": 0}"',
        b'[{"item_id": "tv", "available": 0}]',
        b'{"available": 0, "price": NaN}',
    ],
)
def test_wrapped_values_are_read(value: bytes) -> None:
    """As those of the clickstream are."""
    assert not _item(value).available


def test_a_mapping_reaches_into_a_shops_record() -> None:
    """Several paths, selects, lists, constants and values, by the same language as the clickstream's."""
    mapping = CatalogMapping(
        paths={
            "item_id": ["after.sku", "before.sku"],  # type: ignore[dict-item] - TOML gives lists
            "available": "after.stock[warehouse=main].status",
            "title": "after.i18n.en.name",
            "category": "after.breadcrumb[].label",
            "price": "after.prices[0].gross",
            "locations": "after.stores[].city",
        },
        constants={"variant_group": "tvs"},
        values={"available": {"10": "true", "20": "false", "ships in * weeks": "true"}},
    )

    def record(status: Any) -> dict[str, Any]:
        stores = [{"city": "Oslo"}, {"city": "Rome"}, {}]
        after = {
            "sku": "tv",
            "stock": [{"warehouse": "old", "status": 20}, {"warehouse": "main", "status": status}],
            "i18n": {"en": {"name": "TV"}},
            "breadcrumb": [{"label": "Home"}, {"label": "Screens"}],
            "prices": [{"gross": "1.299,00 EUR"}],
            "stores": stores,
        }
        return {"after": after}

    expected = CatalogItem(
        item_id="tv",  # type: ignore[arg-type]
        title="TV",
        category="Home > Screens",
        price=1299.0,
        locations=["Oslo", "Rome"],
        variant_group="tvs",
    )
    assert _item(record(10), mapping) == expected
    assert _item(record("ships in 3 weeks"), mapping) == expected
    assert not _item(record("20"), mapping).available
    assert _read(record(30.5), mapping) != expected


_MS = 1_800_000_000_000


@pytest.mark.parametrize("moment", [_MS, _MS // 1000, str(_MS), "2027-01-15T08:00:00Z", "2027-01-15T09:00:00+01:00"])
def test_moments_are_read_as_those_of_a_click(moment: Any) -> None:
    """RFC 3339 and Unix milliseconds as ours, the others as far as they are clear."""
    described = _item({"item_id": "tv", "available_until": moment, "sale": {"price": 9, "ends_at": moment}})
    assert described.sale is not None
    assert [moment_ms(end) for end in (described.available_until, described.sale.ends_at) if end is not None] == [
        _MS
    ] * 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"available_until": "soon"},
        {"available_until": True},
        {"available_until": 0},
        {"available_until": {}},
        {"available_until": "infinity"},
        {"available_from": "soon"},
        {"available_from": _MS, "available_until": _MS},
        {"available_from": _MS, "available_until": _MS - 1},
        {"available_from": "2027-01-15T08:00:00Z", "available_until": "2027-01-15T09:00:00+02:00"},
    ],
)
def test_an_item_whose_time_is_unclear_is_closed(wrong: dict[str, Any]) -> None:
    """It may be over; a time that ends before it begins says nothing, either."""
    found = _read({"item_id": "tv", **wrong})
    assert isinstance(found, UnreadableItem)
    assert (found.item_id, found.reason) == ("tv", "unclear_availability")
    assert "available_" in found.detail


@pytest.mark.parametrize("begin", [0, -5, "0001-01-01T00:00:00Z", None, ""])
def test_a_beginning_before_there_were_shops_is_none(begin: Any) -> None:
    """As systems write it that need a moment where there is none."""
    assert _item({"item_id": "tv", "available_from": begin}).available_from is None


@pytest.mark.parametrize(
    ("sale", "repair"),
    [
        (None, None),
        (False, None),
        ("none", None),
        ({}, None),
        ({"price": "free"}, "unreadable"),
        ({"price": -1}, "out_of_range"),
        ({"starts_at": _MS}, "unreadable"),
        ({"price": 9, "ends_at": "soon"}, "unreadable"),
        ({"price": 9, "ends_at": 0}, "unreadable"),
        ({"price": 9, "starts_at": _MS, "ends_at": _MS}, "out_of_range"),
        ([{"price": 9}, {"price": 8}], "unreadable"),
        ({"cost": 9}, "unreadable"),
    ],
)
def test_a_sale_that_cannot_be_read_is_none(sale: Any, repair: str | None) -> None:
    """It is left out and counted, and the item is for sale at its own price."""
    found = _read({"item_id": "tv", "price": 10, "sale": sale})
    assert isinstance(found, DescribedItem)
    assert (found.item.sale, found.item.price, found.repairs.get("sale")) == (None, 10, repair)


def test_a_sale_is_repaired_as_an_item_is() -> None:
    """Its price as a price, its places as places."""
    found = _read({"item_id": "tv", "sale": {"price": "9,90", "locations": "nl"}})
    assert found == DescribedItem(
        CatalogItem(item_id=ItemId("tv"), sale=Sale(price=9.9, locations=["nl"])), {"sale": "reformatted"}
    )


def test_a_shops_own_moments_are_read_by_its_mapping() -> None:
    """A sale in flat columns, as WooCommerce and Magento write it, in the shop's own time zone."""
    mapping = CatalogMapping(
        paths={
            "item_id": "sku",
            "available_until": "discontinued",
            "sale_price": "special_price",
            "sale_starts_at": "special_from_date",
            "sale_ends_at": "special_to_date",
        },
        time_format="%Y-%m-%d %H:%M:%S",
        time_zone="Europe/Amsterdam",
    )
    shops = {"sku": "tv", "special_price": "9.90", "special_from_date": "2027-01-15 09:00:00"}
    until = {"special_to_date": "2027-01-15 09:00:01", "discontinued": "2027-07-15 10:00:00"}
    described = _item({**shops, **until}, mapping)
    assert described.sale == Sale(price=9.9, starts_at=_MS, ends_at=_MS + 1000)
    assert described.available_until == _MS + 181 * 86_400_000
    assert _item({"sku": "tv", "special_price": None}, mapping).sale is None


def test_the_record_itself_can_be_asked() -> None:
    """Its key, timestamp and headers, as in the clickstream."""
    mapping = CatalogMapping(paths={"available": "$record.headers.stock", "variant_group": "$record.key"})
    found = CatalogReader(mapping).read(b"tv", b'{"title": "TV"}', 7, [("stock", b"0")])
    assert isinstance(found, DescribedItem)
    assert (found.item.available, found.item.variant_group) == (False, "tv")


def test_another_decoder_can_be_given() -> None:
    """For values that are no JSON."""
    reader = CatalogReader(OURS, lambda value: {"available": value == b"yes"})
    assert reader.read(b"tv", b"yes") == DescribedItem(CatalogItem(item_id="tv"))  # type: ignore[arg-type]


def test_a_decoder_that_fails_closes_the_item() -> None:
    """Whatever it raises: the thread that follows the catalog goes on."""

    def broken(_: bytes) -> object:
        raise RuntimeError("no schema")

    found = CatalogReader(OURS, broken).read(b"tv", b"{}")
    assert isinstance(found, UnreadableItem)
    assert (found.item_id, found.reason, "no schema" in found.detail) == ("tv", "internal_error", True)


def test_a_line_of_a_file_has_no_key() -> None:
    """The item is the one that it names."""
    reader = CatalogReader(OURS)
    assert reader.read_line(b'{"item_id": "tv"}') == DescribedItem(CatalogItem(item_id="tv"))  # type: ignore[arg-type]
    assert reader.read_line(b'{"item_id": 7, "available": 0}') == DescribedItem(
        CatalogItem(item_id="7", available=False)  # type: ignore[arg-type]
    )
    nameless = reader.read_line(b'{"title": "TV"}')
    assert isinstance(nameless, UnreadableItem)
    assert nameless.item_id is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"paths": {"sku": "id"}}, r"catalog\.mapping\.paths: 'sku' is no field of an item; fields are available, "),
        ({"paths": {"title": "a..b"}}, r"catalog\.mapping\.paths\.title: "),
        ({"paths": {"title": ()}}, r"catalog\.mapping\.paths\.title: 0 paths"),
        ({"constants": {"available": "perhaps"}}, r"catalog\.mapping\.constants\.available: 'perhaps' is neither"),
        ({"values": {"available": {"3": "few"}}}, r"catalog\.mapping\.values\.available\.3: 'few' is neither"),
        ({"values": {"stock": {}}}, r"catalog\.mapping\.values: 'stock' is no field"),
        ({"paths": {"sale": "special"}}, r"catalog\.mapping\.paths: 'sale' is no field of an item; .*sale_price"),
        ({"time_zone": "Mars"}, r"catalog\.mapping\.time_format and time_zone: 'Mars' is no time zone"),
    ],
)
def test_a_mapping_that_means_nothing_is_refused(wrong: dict[str, Any], message: str) -> None:
    """The message names the setting."""
    with pytest.raises(UsageError, match=message):
        CatalogMapping(**wrong)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(fields=st.dictionaries(st.sampled_from([*CatalogItem.__struct_fields__, "more"]), _JSON), whole=_JSON)
def test_whatever_json_a_record_holds_the_item_is_described_or_closed(fields: dict[str, Any], whole: Any) -> None:
    """What is described can be written and read again as it is, and nothing of it is against the schema."""
    for value in (fields, {"item_id": "tv", **fields}, whole):
        found = _read(json.dumps(value).encode())
        assert found.item_id == "tv" if isinstance(found, UnreadableItem) else found.item.item_id == "tv"
        if isinstance(found, DescribedItem):
            again = _read(wire.encode(found.item))
            assert again == DescribedItem(found.item)


@given(value=st.binary(max_size=30), key=st.binary(max_size=12) | st.none())
def test_whatever_bytes_come_nothing_is_raised(value: bytes, key: bytes | None) -> None:
    """Neither for keys nor for values."""
    assert isinstance(_read(value, key=key), DescribedItem | UnreadableItem)
    assert isinstance(_read(None, key=key), RemovedItem | UnreadableItem)
