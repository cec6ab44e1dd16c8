import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from session_model.data.forms import proposed_columns, seen_form


def as_zip(text: bytes) -> bytes:
    """Pack a file as a download comes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", text)
    return packed.getvalue()


def as_tar(text: bytes) -> bytes:
    """Pack a file as tar does."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("a.csv")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"PAR1\x15\x04", "Parquet: use --format parquet"),
        (as_zip(b"a,b\n"), "a zip archive"),
        (as_tar(b"a,b\n"), "a tar archive"),
        (gzip.compress(as_tar(b"a,b\n"), mtime=0), "a tar archive"),
        ("session,item\n".encode("utf-16"), "UTF-16 text"),
        (b"Obj\x01\x04", "an Avro container"),
        (b"\x00\x01\x02", "a binary file"),
        (b'{"visitor_id": "v", "event_type": "view", "event_time": 1}\n', "use --format jsonl"),
        (b'{"session": 1, "events": []}\n', "use --format otto"),
        (b'{"user": {"id": 1}, "ts": 1}\n', r"fields user, ts: say in \[clickstream.mapping\]"),
        (b'[{"user": 1}, {"user": 2}]', "a JSON array"),
        (b'{\n  "user": 1\n}\n', "JSON over several lines"),
        (b"[10, 11]\n[11, 12]\n", "JSON arrays"),
        (b"SessionId\tItemId\tTime\n", "use --format session-rec"),
        (b"session_id:token\titem_id:token\ttimestamp:float\n", "use --format recbole"),
        (b"t_dat,customer_id,article_id,price,sales_channel_id\n", "use --format hm"),
        (b"order_id,product_id,add_to_cart_order,reordered\n", "use --format instacart"),
        (b'"Session ID";"SKU";"Date"\n1;2;2026-01-01\n', "columns session=Session ID,item=SKU,time=Date"),
        (b"1,2268318,2520377,pv,1511544070\n1,2333346,2520771,pv,1511561733\n", "use --format taobao"),
        (b"1,2014-04-07T10:51:09.277Z,7,0\n1,2014-04-07T10:54:09.868Z,8,0\n", "use --format rsc15"),
        (b"2026-01-01;1;10\n2026-01-02;1;11\n", "columns session=2,item=3,time=1"),
        (b"1,10,1700000000\n1,11,1700000009\n", "columns session=1,item=2,time=3"),
        (gzip.compress(b"1\t10\t2026-01-01\n1\t11\t2026-01-02\n", mtime=0), "time=3"),
    ],
)
def test_a_form_is_named_with_its_remedy(tmp_path: Path, content: bytes, expected: str) -> None:
    """What users give by mistake, and what to do."""
    path = tmp_path / "a"
    path.write_bytes(content)
    assert expected.replace("\\", "") in str(seen_form(path))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"a b c\nb c\n",
        b"10,11,12\n11,12\n",
        b"10,11\n12,13\n",
        b"chair,lamp\nlamp,chair\n",
        b"{nonsense\n",
    ],
)
def test_what_is_not_sure_is_not_named(tmp_path: Path, content: bytes) -> None:
    """Sessions of ids are no table, whatever parts them."""
    path = tmp_path / "a"
    path.write_bytes(content)
    assert seen_form(path) is None


def test_sessions_of_article_numbers_are_no_table_of_times(tmp_path: Path) -> None:
    """A number of thirteen digits can be a moment in milliseconds, or an EAN; in several columns it is the latter."""
    path = tmp_path / "a"
    path.write_text("4006381333931,4012345678901\n4006381333948,4012345678918\n")
    assert seen_form(path) is None


def test_what_cannot_be_read_is_not_named(tmp_path: Path) -> None:
    """The message that is under way says why."""
    assert seen_form(tmp_path) is None
    assert seen_form(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["user_pseudo_id", "ga_session_id", "item_id", "event_timestamp"], "session=ga_session_id,item=item_id,time="),
        (["customer_id", "sku", "ts", "Event Name"], "visitor=customer_id,item=sku,time=ts,type=Event Name"),
        (["a", "b"], "session=?,item=?"),
    ],
)
def test_columns_are_proposed_by_their_usual_names(names: list[str], expected: str) -> None:
    """A role that is not recognised is left to the user."""
    assert proposed_columns(names).startswith(expected)
