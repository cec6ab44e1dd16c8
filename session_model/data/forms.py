"""What a file looks like, for the message that refuses it: the form that was seen, and how such a file is read."""

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from schemas.errors import InsessionError
from session_model.data.compressed_files import HEAD_BYTES, compression_of, first_bytes, opened
from session_model.data.event_times import unit_of

DELIMITERS: Final = (",", ";", "\t", "|")


class Form(NamedTuple):
    """What was seen; `data_format`: the format that reads it as it is, if one does. is_table: of lines of cells."""

    seen: str
    remedy: str
    data_format: str | None = None
    is_table: bool = False

    def __str__(self) -> str:
        """Return it as the end of a message."""
        return f"it looks like {self.seen}: {self.remedy}"


def seen_form(path: Path) -> Form | None:
    """Return what `path` looks like by its first bytes and lines; None where nothing is sure, or it cannot be read."""
    try:
        raw = first_bytes(path)
        binary = _binary(raw)
        if binary is not None:
            return binary
        with opened(path) as stream:
            head = list(islice(iter(lambda: stream.readline(_MOST_LINE_BYTES), b""), _MOST_LINES))
    except (OSError, InsessionError):
        return None
    start = b"".join(head)[:HEAD_BYTES]
    binary = _binary(start)
    if binary is not None:
        return binary
    lines = [text for line in head if (text := line.decode("utf-8-sig", "replace").strip("\r\n")).strip()]
    if not lines:
        return None
    if lines[0].lstrip().startswith(("{", "[")):
        return _json(lines[0].strip())
    table = _table(lines)
    return None if table is None else table._replace(is_table=True)


def delimiter_of(line: str) -> str | None:
    """Return the delimiter that parts the line into most cells; None where there is none of them in it."""
    best = max(DELIMITERS, key=line.count)
    return best if best in line else None


def proposed_columns(names: Sequence[str]) -> str:
    """Propose `--columns` for a table by the usual names of its columns; a role that is not recognised is `?`."""
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(names)}
    found = {role: next((plain[one] for one in usual if one in plain), None) for role, usual in _USUAL_NAMES.items()}
    if found["session"] is None and found["visitor"] is None:
        found["session"] = "?"
    elif found["session"] is not None:
        found["visitor"] = None
    found["item"] = found["item"] or "?"
    return ",".join(f"{role}={name}" for role, name in found.items() if name is not None)


_MOST_LINES: Final = 20
_MOST_LINE_BYTES: Final = 1 << 16
_USUAL_NAMES: Final = {
    "session": ("sessionid", "session", "usersession", "sessionidhash", "visitid", "gasessionid"),
    "visitor": (
        "visitorid",
        "userid",
        "customerid",
        "clientid",
        "anonymousid",
        "uid",
        "user",
        "visitor",
        "fullvisitorid",
    ),
    "item": (
        "itemid",
        "productid",
        "articleid",
        "aid",
        "sku",
        "productskuhash",
        "asin",
        "item",
        "product",
        "productsku",
    ),
    "time": ("timestamp", "eventtime", "time", "ts", "eventtimestamp", "datetime", "createdat", "date", "eventdate"),
    "type": ("eventtype", "type", "event", "action", "eventname", "behavior", "behaviortype", "actiontype"),
    "price": ("price", "unitprice"),
}
_UNPACK: Final = "unpack it, and name the file or the folder"
_BINARY: Final = (
    (b"PAR1", Form("Parquet", "use --format parquet --columns session=NAME,item=NAME,time=NAME", "parquet")),
    (b"ARROW1", Form("Arrow (Feather)", "write it as Parquet, and use --format parquet")),
    (b"ORC", Form("ORC", "write it as Parquet, and use --format parquet")),
    (b"Obj\x01", Form("an Avro container", "write it as JSON lines or Parquet")),
    (b"PK\x03\x04", Form("a zip archive (or a spreadsheet)", f"{_UNPACK}; save a spreadsheet as CSV")),
    (b"7z\xbc\xaf\x27\x1c", Form("a 7z archive", _UNPACK)),
    (b"\x04\x22\x4d\x18", Form("lz4", "unpack it with `unlz4`; .gz, .zst, .bz2 and .xz are read as they are")),
    (b"\xff\x06\x00\x00sNaPpY", Form("snappy", "unpack it; .gz, .zst, .bz2 and .xz are read as they are")),
    (b"SQLite format 3\x00", Form("an SQLite database", "write its table as CSV, and use --format csv")),
    (b"\x89HDF", Form("HDF5", "write it as Parquet or CSV")),
    (b"\xd0\xcf\x11\xe0", Form("an old spreadsheet", "save it as CSV, and use --format csv")),
    (b"\x80\x04\x95", Form("a Python pickle", "write it as Parquet or CSV")),
    (b"\x93NUMPY", Form("a NumPy array", "write it as Parquet or CSV")),
    (b"\xff\xfe", Form("UTF-16 text", "write it as UTF-8: `iconv -f UTF-16 -t UTF-8`")),
    (b"\xfe\xff", Form("UTF-16 text", "write it as UTF-8: `iconv -f UTF-16 -t UTF-8`")),
)
_TAR_PLACE: Final = slice(257, 262)
_PUBLISHED: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    ("session-rec", frozenset({"SessionId", "ItemId", "Time"})),
    ("coveo", frozenset({"session_id_hash", "product_action", "product_sku_hash", "server_timestamp_epoch_ms"})),
    ("hm", frozenset({"t_dat", "customer_id", "article_id"})),
    ("tmall", frozenset({"user_id", "item_id", "time_stamp", "action_type"})),
    ("instacart", frozenset({"order_id", "product_id", "add_to_cart_order"})),
    ("rees46", frozenset({"event_time", "event_type", "product_id", "user_session"})),
    ("retailrocket", frozenset({"timestamp", "visitorid", "event", "itemid"})),
    ("diginetica", frozenset({"sessionId", "itemId", "timeframe", "eventdate"})),
    ("diginetica", frozenset({"session_id", "item_id", "timeframe", "eventdate"})),
)
_JSON: Final[tuple[tuple[str, str, frozenset[str]], ...]] = (
    ("jsonl", "clicks, one JSON a line", frozenset({"visitor_id", "event_type", "event_time"})),
    ("session-ends", "records of the session-ends topic", frozenset({"visitor_key", "end_reason", "events"})),
    ("otto", "OTTO sessions, one JSON a line", frozenset({"session", "events"})),
)
_NAME: Final = re.compile(r"[A-Za-z_][\w .:-]*")
_TELLING: Final = re.compile(r"session|user|visitor|customer|item|product|article|sku|time|date|event", re.IGNORECASE)
_ISO_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_SHOWN_NAMES: Final = 12
_MIN_COLUMNS: Final = 3


def _binary(head: bytes) -> Form | None:
    if head[_TAR_PLACE] == b"ustar":
        return Form("a tar archive", _UNPACK)
    found = next((form for magic, form in _BINARY if head.startswith(magic)), None)
    if found is None and b"\x00" in head and compression_of(head) is None:
        return Form("a binary file", "write it as JSON lines, CSV or Parquet")
    return found


def _json(line: str) -> Form | None:
    try:
        value = msgspec.json.decode(line.encode())
    except msgspec.DecodeError:
        if line in {"{", "["} or line.startswith("[{"):
            return Form("JSON over several lines", "write one object a line: `jq -c '.[]? // .'`")
        return None
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            return Form("a JSON array", "write one object a line: `jq -c '.[]'`")
        return Form("JSON arrays", "write the item ids of a session in a line, with blanks, for --format sequences")
    for data_format, seen, names in _JSON:
        if names <= value.keys():
            return Form(seen, f"use --format {data_format}", data_format)
    shown = ", ".join(list(value)[:_SHOWN_NAMES])
    return Form(
        f"a shop's own JSON with the fields {shown}",
        "say in [clickstream.mapping] of --config FILE where things are; `insession doctor --sample` proposes it",
    )


def _table(lines: Sequence[str]) -> Form | None:
    delimiter = delimiter_of(lines[0])
    if delimiter is None:
        return None
    names = [name.strip().strip('"') for name in lines[0].split(delimiter)]
    if all(re.fullmatch(r"\w+:(token|float)(_seq)?", name) for name in names):
        return Form("a RecBole file", "use --format recbole", "recbole")
    for data_format, columns in _PUBLISHED:
        if columns <= set(names) and (data_format != "session-rec" or delimiter == "\t"):
            return Form(f"a table as {data_format} has it", f"use --format {data_format}", data_format)
    if all(_NAME.fullmatch(name) for name in names) and any(_TELLING.search(name) for name in names):
        remedy = f"use --format csv --columns {proposed_columns(names)}"
        return Form(f"CSV with a header ({', '.join(names[:_SHOWN_NAMES])})", remedy, "csv")
    return _table_without_header([line.split(delimiter) for line in lines])


def _table_without_header(rows: Sequence[Sequence[str]]) -> Form | None:
    """Recognise a table by one column of times, and none in the others."""
    if len(rows) < 2 or len(rows[0]) < _MIN_COLUMNS or len({len(row) for row in rows}) != 1:
        return None
    timed = [[_is_time(cell) for cell in column] for column in zip(*rows, strict=True)]
    places = [place for place, column in enumerate(timed, 1) if all(column)]
    if len(places) != 1 or sum(map(any, timed)) != 1:
        return None
    if set(rows[0]) & {"pv", "buy", "cart", "fav"}:
        return Form("Taobao's UserBehavior.csv", "use --format taobao", "taobao")
    if places == [2] and rows[0][1].endswith("Z"):
        return Form("a file of RSC15", "use --format rsc15", "rsc15")
    session, item = [place for place in range(1, len(rows[0]) + 1) if place not in places][:2]
    columns = f"session={session},item={item},time={places[0]}"
    return Form(
        "a table without a header", f"use --format csv and name columns by number, as --columns {columns}", "csv"
    )


def _is_time(cell: str) -> bool:
    cell = cell.strip().strip('"')
    if cell.isdecimal():
        return unit_of(int(cell)) is not None
    return bool(_ISO_DATE.match(cell))
