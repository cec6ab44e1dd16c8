import json
import tomllib
from pathlib import Path
from typing import Any

from agents.doctor.catalog_proposal import propose_catalog
from agents.settings import load_settings
from schemas.state import InputPosition
from streams.records import InputRecord


def records(*values: Any, key: str = "sku") -> list[InputRecord]:
    """Make a record of each value, keyed by a field of it."""
    return [
        InputRecord(
            InputPosition("items", 0, offset),
            str(value[key]).encode() if isinstance(value, dict) else b"k",
            value if isinstance(value, bytes) else json.dumps(value).encode(),
            0,
        )
        for offset, value in enumerate(values)
    ]


def product(number: int, **more: Any) -> dict[str, Any]:
    """Describe a product as a shop system does."""
    return {
        "id": f"doc-{number}",
        "sku": 100 + number,
        "names": {"title": f"Shoe {number}"},
        "stock": {"quantity": number % 3},
        "category path": [{"name": "Shoes"}, {"name": "Boots"}],
        "price": {"amount": "12,95", "currency": "EUR"},
        "stores": [{"city": "Oslo"}, {"city": "Rome"}],
        "parent_sku": "p",
        **more,
    }


def test_what_is_proposed_reads_the_records(tmp_path: Path) -> None:
    """The item is what the key names; the proposal is a settings file that can be taken as it is."""
    sample = records(*(product(number) for number in range(30)))
    proposal = propose_catalog(sample)
    assert (proposal.sampled, proposal.readable, proposal.available) == (30, 30, 20)
    assert proposal.mapping.paths == {
        "item_id": "sku",
        "available": "stock.quantity",
        "title": "names.title",
        "category": "category path",
        "locations": "stores[].city",
        "variant_group": "parent_sku",
    }
    assert proposal.questions == ()
    path = tmp_path / "catalog.toml"
    path.write_text(proposal.toml())
    assert load_settings(file=path, environment={}).catalog.mapping == proposal.mapping


def test_moments_and_sales_are_found_where_they_can_be_read() -> None:
    """Flat columns of a shop system; what holds no moments is not taken for one, whatever its name."""
    sale = {"special_price": 9.9, "special_from_date": "2026-11-01 00:00:00", "special_to_date": "2026-12-01 00:00:00"}
    rows = (product(number, online_to="2027-01-01", available_from="the north", **sale) for number in range(30))
    paths = propose_catalog(records(*rows)).mapping.paths
    assert {name: path for name, path in paths.items() if name.startswith(("sale_", "available_"))} == {
        "available_until": "online_to",
        "sale_price": "special_price",
        "sale_starts_at": "special_from_date",
        "sale_ends_at": "special_to_date",
    }


def test_words_that_are_neither_yes_nor_no_are_asked_about() -> None:
    """As are records in which nothing says whether the item can be bought."""
    sample = records(
        *(product(number, stock=None, status=word) for number, word in enumerate(["active", "draft", "sold out"])),
        product(9, stock=None),
    )
    proposal = propose_catalog(sample)
    assert proposal.mapping.paths["available"] == "status"
    assert proposal.reasons == {"unclear_availability": 3}
    asked = "\n".join(proposal.questions)
    assert 'status "active" (25%): true or false?' in asked
    assert "status is not there in 25% of the records" in asked


def test_a_shop_that_keys_by_something_else_is_told() -> None:
    """No mapping helps: tombstones and compaction go by the key."""
    sample = records(*({"uuid": f"u{n}", "item_id": f"i{n}", "available": True} for n in range(9)), key="uuid")
    proposal = propose_catalog(sample)
    assert proposal.mapping.paths == {"item_id": "uuid"}
    without = propose_catalog([InputRecord(one.position, b"x", one.value, 0) for one in sample])
    assert (without.readable, without.reasons) == (0, {"key_mismatch": 9})
    assert "no path holds what the record's key names" in without.questions[0]


def test_records_of_ours_need_nothing() -> None:
    """Garbage among them is counted with its reason."""
    sample = records({"item_id": "a", "title": "A", "available": False}, b"\xff", key="item_id")
    proposal = propose_catalog(sample)
    assert (proposal.readable, proposal.reasons, tomllib.loads(proposal.toml())) == (1, {"undecodable": 1}, {})


def test_a_question_cannot_command_a_terminal() -> None:
    """A shop's words are shown on one line."""
    sample = records(product(1, stock=None, status="\x1b[31m\nperhaps"))
    assert all(line.isprintable() for line in propose_catalog(sample).toml().splitlines())
