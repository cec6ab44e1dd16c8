"""Public data sets as they are published, each file of them that lies there.

A path is a file, or the folder with the published files: all parts are read (each month of REES46), and purchases that
lie beside the views, too. Times are UTC. A line that cannot be used is left out, counted and named.

rsc15, diginetica, retailrocket, rees46, otto: RecSys Challenge 2015, CIKM Cup 2016, Kaggle, REES46, OTTO.
coveo: SIGIR eCom 2021, browsing_train.csv. https://github.com/coveooss/SIGIR-ecom-data-challenge
taobao: UserBehavior.csv. https://tianchi.aliyun.com/dataset/649
tmall: IJCAI-15, user_log_format1.csv. https://tianchi.aliyun.com/dataset/42
hm: H&M Personalized Fashion Recommendations, transactions_train.csv, purchases. Kaggle.
instacart: order_products__prior.csv and __train.csv, purchases without times. Kaggle.
criteo: Sponsored Search Conversion Log, CriteoSearchData. https://ailab.criteo.com
"""

import calendar
import csv
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from schemas.errors import UsageError
from session_model.data import published_lines
from session_model.data.compressed_files import SUFFIXES
from session_model.data.event_times import EventClock, TimeUnit, in_bounds
from session_model.data.files import data_files
from session_model.data.forms import seen_form
from session_model.data.rows import Row, check_ids
from session_model.data.text_lines import MalformedLines, read_lines

PublicFormat = Literal[
    "rsc15",
    "diginetica",
    "retailrocket",
    "rees46",
    "otto",
    "coveo",
    "taobao",
    "tmall",
    "hm",
    "instacart",
    "criteo",
]


@dataclass(frozen=True, slots=True)
class _File:
    """One kind of published file: its name, how its cells part, which columns are read (None: by place).

    pattern: of the names of all its parts, without what compression adds. unit: of its times, as published.
    """

    name: str
    delimiter: str
    columns: tuple[str, ...] | None
    parse: Callable[[list[str], EventClock], Iterable[Row]]
    pattern: str = ""
    unit: TimeUnit | None = None

    def is_part(self, name: str) -> bool:
        """Return whether a file of this name, without what compression adds, is one of its parts."""
        return name == self.name or bool(self.pattern and re.fullmatch(self.pattern, name))


@dataclass(frozen=True, slots=True)
class PublicDataset:
    """The files of a data set, the first one needed; `is_by_visitor`: sessions are made by the inactivity gap."""

    files: tuple[_File, ...]
    is_by_visitor: bool = False
    has_times: bool = True

    def paths(self, path: Path) -> list[Path]:
        """Return the files to read, in the order of the data set's; raises UsageError where the first is not there."""
        if not path.is_dir():
            return data_files(path)
        found = [parts_in(path, file.is_part) for file in self.files]
        if not found[0]:
            name = self.files[0].name
            raise UsageError(f"{path} has no {name} (or {name}.gz, ...); name that file or its folder")
        return [part for parts in found for part in parts]

    def rows(self, malformed: MalformedLines) -> Iterator[Row]:
        """Return the events of a file; raises UsageError where its header lacks a column."""
        name = _plain_name(malformed.path)
        file = next((file for file in self.files if file.is_part(name)), self.files[0])
        return _rows(malformed, file, has_times=self.has_times)


def parts_in(folder: Path, is_part: Callable[[str], bool]) -> list[Path]:
    """Return the files of a folder that are parts, months in order; of one that is there twice, the plain one."""
    by_name = dict[str, Path]()
    for suffix in reversed(SUFFIXES):
        files = (file for file in folder.iterdir() if file.is_file() and _suffix(file) == suffix)
        by_name |= {_plain_name(file): file for file in files}
    return [by_name[name] for name in sorted(by_name, key=_in_time) if is_part(name)]


def column_places(header: str, delimiter: str, columns: Iterable[str]) -> tuple[list[int], list[str]]:
    """Return the place of each column in a header and the names that are missing.

    The same data set is published with `sessionId` and `session_id`: case and underscores tell no columns apart.
    """
    names = [_spelled(name) for name in header.split(delimiter)]
    missing = [name for name in columns if _spelled(name) not in names]
    return ([] if missing else [names.index(_spelled(name)) for name in columns]), missing


def cells_of(line: str, delimiter: str) -> list[str]:
    """Part a line into cells, some of which may be quoted."""
    if '"' in line:
        return next(csv.reader([line], delimiter=delimiter))
    return line.split(delimiter)


def _rows(malformed: MalformedLines, file: _File, *, has_times: bool) -> Iterator[Row]:
    lines, clock = read_lines(malformed), EventClock(malformed.path, file.unit)
    places: list[int] | None = None
    if file.columns is not None:
        header = next(lines, None)
        if header is None:  # a part may be empty
            return
        places = _places(header[1], file, malformed.path)
    for number, line in lines:
        try:
            cells = cells_of(line, file.delimiter) if file.delimiter else [line]
            rows = list(file.parse(cells if places is None else [cells[place] for place in places], clock))
            for row in rows:
                check_ids(row.owner, row.item_id)
                if has_times:
                    in_bounds(row.time_ms, row.time_ms)
        except (ValueError, LookupError, OverflowError, csv.Error, msgspec.DecodeError) as error:
            malformed.add(number, "too few columns" if isinstance(error, IndexError) else str(error))
            continue
        if not rows:
            malformed.ignore("no interaction with an item")
        yield from rows


def _places(header: str, file: _File, path: Path) -> list[int]:
    assert file.columns is not None
    places, missing = column_places(header, file.delimiter, file.columns)
    if missing:
        found = ", ".join(name.strip() for name in header.split(file.delimiter))[:200]
        form = seen_form(path)
        hint = f"; {form}" if form else ""
        raise UsageError(f"{path}: the header lacks {', '.join(missing)} (found: {found}){hint}")
    return places


def _spelled(name: str) -> str:
    return name.strip().strip('"').replace("_", "").lower()


def _suffix(file: Path) -> str:
    return file.suffix if file.suffix in SUFFIXES else ""


def _plain_name(file: Path) -> str:
    return file.name.removesuffix(_suffix(file))


_MONTHS: Final = {name: number for number, name in enumerate(calendar.month_abbr) if name}


def _in_time(name: str) -> tuple[str, int, str]:
    """Sort names that begin with year and month (`2019-Oct.csv`) by time, others by themselves."""
    year, month = name[:4], _MONTHS.get(name[5:8], 0)
    return (year, month, name) if year.isdecimal() and month else (name, 0, name)


_DIGINETICA_COLUMNS: Final = ("sessionId", "itemId", "timeframe", "eventdate")
_INSTACART_COLUMNS: Final = ("order_id", "product_id", "add_to_cart_order")

PUBLIC_DATASETS: Final[dict[PublicFormat, PublicDataset]] = {
    "rsc15": PublicDataset(
        (
            _File("yoochoose-clicks.dat", ",", None, published_lines.rsc15_click),
            _File("yoochoose-buys.dat", ",", None, published_lines.rsc15_buy),
        )
    ),
    "diginetica": PublicDataset(
        (
            _File("train-item-views.csv", ";", _DIGINETICA_COLUMNS, published_lines.diginetica_view),
            _File("train-purchases.csv", ";", _DIGINETICA_COLUMNS, published_lines.diginetica_purchase),
        )
    ),
    "retailrocket": PublicDataset(
        (
            _File(
                "events.csv",
                ",",
                ("timestamp", "visitorid", "event", "itemid"),
                published_lines.retailrocket_event,
                unit="ms",
            ),
        ),
        is_by_visitor=True,
    ),
    "rees46": PublicDataset(
        (
            _File(
                "2019-Oct.csv",
                ",",
                ("event_time", "event_type", "product_id", "price", "user_session"),
                published_lines.rees46_event,
                pattern=r"20\d\d-[A-Z][a-z]{2}\b.*\.csv|events\.csv",
            ),
        )
    ),
    "otto": PublicDataset(
        (
            _File(
                "otto-recsys-train.jsonl",
                "",
                None,
                published_lines.otto_session,
                pattern=r"(otto-recsys-)?train\b.*\.jsonl",
                unit="ms",
            ),
        )
    ),
    "coveo": PublicDataset(
        (
            _File(
                "browsing_train.csv",
                ",",
                ("session_id_hash", "product_action", "product_sku_hash", "server_timestamp_epoch_ms"),
                published_lines.coveo_event,
                unit="ms",
            ),
        )
    ),
    "taobao": PublicDataset(
        (_File("UserBehavior.csv", ",", None, published_lines.taobao_event, unit="s"),), is_by_visitor=True
    ),
    "tmall": PublicDataset(
        (
            _File(
                "user_log_format1.csv",
                ",",
                ("user_id", "item_id", "time_stamp", "action_type"),
                published_lines.tmall_event,
            ),
        ),
        is_by_visitor=True,
    ),
    "hm": PublicDataset(
        (
            _File(
                "transactions_train.csv",
                ",",
                ("t_dat", "customer_id", "article_id", "price"),
                published_lines.hm_purchase,
            ),
        ),
        is_by_visitor=True,
    ),
    "instacart": PublicDataset(
        (
            _File("order_products__prior.csv", ",", _INSTACART_COLUMNS, published_lines.instacart_product),
            _File("order_products__train.csv", ",", _INSTACART_COLUMNS, published_lines.instacart_product),
        ),
        has_times=False,
    ),
    "criteo": PublicDataset(
        (_File("CriteoSearchData", "\t", None, published_lines.criteo_click, unit="s"),), is_by_visitor=True
    ),
}
