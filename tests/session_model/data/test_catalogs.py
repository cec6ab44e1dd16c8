"""Catalog records and the item files of public data sets, by fixtures made by hand."""

import gzip
from pathlib import Path

import pytest

from schemas.catalog_mapping import CatalogMapping
from schemas.errors import InsessionError, UsageError
from schemas.records import CatalogItem
from session_model.data.catalogs import published_catalog, read_catalog


def said(items: list[CatalogItem]) -> dict[str, tuple[str | None, str | None, float | None]]:
    """Return category, title and price by item."""
    return {item.item_id: (item.category, item.title, item.price) for item in items}


def test_records_are_read_and_the_last_one_counts(tmp_path: Path) -> None:
    """As on the compacted topic; gzipped or not."""
    lines = b'{"item_id":"a","category":"x"}\n\n{"item_id":"b","title":"B"}\n{"item_id":"a","price":2.5}\n'
    (tmp_path / "plain.jsonl").write_bytes(lines)
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(lines))
    expected = {"a": (None, None, 2.5), "b": (None, "B", None)}
    assert said(read_catalog(tmp_path / "plain.jsonl")) == expected
    assert said(read_catalog(tmp_path / "packed.jsonl.gz")) == expected


def test_a_malformed_line_is_left_out_and_many_are_refused(tmp_path: Path) -> None:
    """No id, no clear availability, no JSON: each is left out; where they are many, the file is the wrong one."""
    bad = ['{"item_id":""}', '{"item_id":"a","available":"perhaps"}', "nonsense"]
    path = tmp_path / "catalog.jsonl"
    path.write_text("\n".join([*bad, '{"item_id":"good"}']))
    assert list(said(read_catalog(path))) == ["good"]
    path.write_text("\n".join([*bad * 4, '{"item_id":"good"}']))
    with pytest.raises(InsessionError, match="12 of 13 lines are malformed"):
        read_catalog(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_catalog(tmp_path / "absent")


def test_an_item_whose_last_record_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    """As on the topic; odd prices and titles are repaired or dropped instead."""
    path = tmp_path / "catalog.jsonl"
    path.write_text(
        '{"item_id":"a"}\n{"item_id":"a","available":"perhaps"}\n{"item_id":7,"title":["B","C"],"price":-1}\n'
    )
    assert said(read_catalog(path)) == {"7": (None, "B C", None)}


def test_a_shops_own_records_are_read_by_its_mapping(tmp_path: Path) -> None:
    """The same mapping as the topic's."""
    path = tmp_path / "catalog.jsonl"
    path.write_text('{"sku":"a","money":{"amount":"2,50"}}\n')
    mapping = CatalogMapping(paths={"item_id": "sku", "price": "money"})
    assert said(read_catalog(path, mapping)) == {"a": (None, None, 2.5)}


def test_diginetica(tmp_path: Path) -> None:
    """Categories from one file, price (a logarithm) and name tokens from the other."""
    (tmp_path / "product-categories.csv").write_text("itemId;categoryId\n7;12\n8;13\n")
    (tmp_path / "products.csv").write_text("itemId;pricelog2;product.name.tokens\n7;3;4,5,66\n9;0;\n")
    assert said(published_catalog(tmp_path, "diginetica")) == {
        "7": ("12", "4 5 66", 8.0),
        "8": ("13", None, None),
        "9": (None, "", 1.0),
    }


def test_retailrocket(tmp_path: Path) -> None:
    """The latest categoryid of each item, from both parts, one of them gzipped; other properties say nothing."""
    header = "timestamp,itemid,property,value\n"
    part1 = header + "30,1,categoryid,200\n10,1,888,n5.000\n10,2,categoryid,7\n"
    (tmp_path / "item_properties_part1.csv").write_text(part1)
    part2 = header + "20,1,categoryid,100\n40,2,categoryid,8\n40,3,available,1\n"
    (tmp_path / "item_properties_part2.csv.gz").write_bytes(gzip.compress(part2.encode()))
    assert said(published_catalog(tmp_path, "retailrocket")) == {"1": ("200", None, None), "2": ("8", None, None)}


def test_rees46(tmp_path: Path) -> None:
    """Category code, else id, brand as title and the price, from the events; an empty cell takes nothing back."""
    header = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
    rows = "t,view,1,55,home.bed,acme,10.5,u,s\nt,view,2,56,,,0.00,u,s\nt,cart,1,55,home.bed,,12,u,s\n"
    path = tmp_path / "2019-Oct.csv"
    path.write_text(header + rows)
    expected = {"1": ("home.bed", "acme", 12.0), "2": ("56", None, 0.0)}
    assert said(published_catalog(path, "rees46")) == said(published_catalog(tmp_path, "rees46")) == expected


def test_where_no_item_file_lies_there_is_no_catalog(tmp_path: Path) -> None:
    """Neither beside a single file, nor in a folder without them, nor in one that lacks the columns."""
    assert published_catalog(tmp_path, "diginetica") == published_catalog(tmp_path, "retailrocket") == []
    assert published_catalog(tmp_path / "events.csv", "retailrocket") == published_catalog(tmp_path, "otto") == []
    (tmp_path / "product-categories.csv").write_text("itemId;other\n7;12\n")
    assert published_catalog(tmp_path, "diginetica") == []
