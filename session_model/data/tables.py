"""Rows of CSV and Parquet files by a `TableLayout`, and of RecBole's `.inter` files, whose header says it all."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from schemas.errors import UsageError
from session_model.data.forms import DELIMITERS, delimiter_of, seen_form
from session_model.data.rows import Row
from session_model.data.table_layout import Cell, Role, TableLayout, TableReader
from session_model.data.text_lines import MalformedLines, read_lines

BATCH_ROWS = 1 << 14


class CsvTable:
    """Reads the files of one table, UTF-8, with quotes as in RFC 4180; `,`, `;`, tab and `|` part cells.

    Each file has a header, or the first alone (as `split` leaves them), or none, where columns are named by numbers.
    layout: None where the header itself says it (`recbole_layout`).
    """

    def __init__(self, layout: TableLayout | None) -> None:
        self._given = layout
        self._found = layout
        self._first_header: tuple[str, list[str]] | None = None

    @property
    def has_times(self) -> bool:
        """Whether the events have times; known when the first file is read."""
        return self._found is not None and self._found.has_times

    @property
    def is_by_visitor(self) -> bool:
        """Whether sessions are still to be parted; known when the first file is read."""
        return self._found is not None and self._found.is_by_visitor

    def rows(self, malformed: MalformedLines) -> Iterator[Row]:
        """Return the events of a file; raises UsageError where a column is not there."""
        lines = (f"{text}\n" for _, text in read_lines(malformed))
        first = next(lines, None)
        if first is None:
            return
        head = self._head(first)
        if head is None:
            form = seen_form(malformed.path)
            is_other = form is not None and not form.is_table
            raise UsageError(f"{malformed.path}: {form if is_other else self._refusal(first)}")
        delimiter, places, is_header = head
        assert self._found is not None
        reader = TableReader(self._found, places, malformed)
        for cells in _records(lines if is_header else chain([first], lines), delimiter, malformed):
            row = reader.row(malformed.last_line, cells)
            if row is not None:
                yield row

    def _head(self, line: str) -> tuple[str, dict[Role, int], bool] | None:
        """Return delimiter, places of the columns, and whether `line` is a header; None where nothing fits."""
        for delimiter in DELIMITERS:
            names = _cells(line, delimiter)
            layout = recbole_layout(names) if self._given is None else self._given
            if self._given is None:
                names = [name.partition(":")[0] for name in names]
            places = None if layout is None else layout.places(names)
            if places is not None:
                self._found, self._first_header = layout, self._first_header or (delimiter, names)
                return delimiter, places, True
        if self._found is None:
            return None
        delimiter, names = self._first_header or (delimiter_of(line) or ",", [])
        width = len(_cells(line, delimiter))
        places = self._found.places(names) if len(names) == width else self._found.numbered()
        return None if places is None or max(places.values()) >= width else (delimiter, places, False)

    def _refusal(self, line: str) -> str:
        names = _cells(line, delimiter_of(line) or ",")
        if self._given is not None:
            return self._given.missing(names)
        return (
            "the header names no session_id:token or user_id:token with item_id:token, an interaction a line (found: "
            f"{', '.join(names)[:200]}); a list of items (item_id_list) a line holds each click many times: give the "
            "file that it was made of"
        )


def recbole_layout(names: Sequence[str]) -> TableLayout | None:
    """Find RecBole's columns, such as `session_id:token`; None where it is not an interaction a line.

    https://recbole.io/docs/user_guide/data/atomic_files.html
    """
    plain = {name.partition(":")[0]: name.partition(":")[2] for name in names}
    owner: Role | None = "session" if "session_id" in plain else "visitor" if "user_id" in plain else None
    if owner is None or plain.get("item_id") != "token" or plain.get("item_id_list") == "token_seq":
        return None
    columns: dict[Role, str] = {owner: f"{'session' if owner == 'session' else 'user'}_id", "item": "item_id"}
    return TableLayout(columns | ({"time": "timestamp"} if "timestamp" in plain else {}))


class ParquetTable:
    """Reads the files of one Parquet table, `BATCH_ROWS` at a time; needs the extra `parquet`."""

    def __init__(self, layout: TableLayout) -> None:
        self._layout = layout
        self.has_times = layout.has_times
        self.is_by_visitor = layout.is_by_visitor

    def rows(self, malformed: MalformedLines) -> Iterator[Row]:
        """Return the events of a file; raises UsageError where it is no Parquet, or a column is not there."""
        names = parquet_names(malformed.path)
        if self._layout.places(names) is None:
            raise UsageError(f"{malformed.path}: {self._layout.missing(names)}")
        roles = self._layout.columns
        reader = TableReader(self._layout, {role: place for place, role in enumerate(roles)}, malformed)
        for cells in _parquet_rows(malformed.path, list(roles.values())):
            malformed.last_line += 1
            row = reader.row(malformed.last_line, cells)
            if row is not None:
                yield row


def parquet_names(path: Path) -> list[str]:
    """Return the columns of a Parquet file; raises UsageError where it is none, or the extra is not installed."""
    with open_parquet(path) as file:
        names: list[str] = file.schema_arrow.names
    return names


def csv_names(path: Path) -> list[str]:
    """Return the cells of the first line of a CSV file; raises as `read_lines`."""
    line = next((text for _, text in read_lines(MalformedLines(path))), "")
    return _cells(line, delimiter_of(line) or ",")


@contextmanager
def open_parquet(path: Path, *, instead: str = "CSV") -> Iterator[Any]:
    """Open a `pyarrow.parquet.ParquetFile`; raises UsageError where it is none, or the extra is not installed.

    instead: the form that needs no extra.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import pyarrow.parquet as pq  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise UsageError(f"{path}: install insession[parquet] to read Parquet, or write it as {instead}") from error
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        form = seen_form(path)
        remedy = "copy the file again" if form is None or form.data_format == "parquet" else str(form)
        raise UsageError(f"{path} cannot be read as Parquet ({error}); {remedy}") from error


def _parquet_rows(path: Path, names: Sequence[str]) -> Iterator[tuple[Cell, ...]]:
    with open_parquet(path) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=list(dict.fromkeys(names))):
            yield from zip(*(_values(batch.column(name), path, name) for name in names), strict=True)


def _values(column: Any, path: Path, name: str) -> list[Cell]:
    """Return a column as builtin values; moments as what they are, not by their size."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_dictionary(column.type):
        column = column.cast(kind)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("ms", getattr(kind, "tz", None)), safe=False)
    elif pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    elif pa.types.is_nested(kind) or pa.types.is_binary(kind):
        raise UsageError(f"{path}: column {name} ({kind}) holds no ids, times or names; choose another for --columns")
    values: list[Cell] = column.to_pylist()
    return values


def _records(lines: Iterator[str], delimiter: str, malformed: MalformedLines) -> Iterator[list[str]]:
    """Part lines into cells; a quote that nobody closes costs its record, up to the csv module's bound of 128 KiB."""
    records = csv.reader(lines, delimiter=delimiter)
    while True:
        try:
            yield next(records)
        except StopIteration:
            return
        except csv.Error as error:
            malformed.add(malformed.last_line, str(error))


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
