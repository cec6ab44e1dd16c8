"""The shop's own vectors of its items, from whatever model of texts or pictures.

`NAME.npy`: an array (n_items, n_dimensions) as `numpy.save` writes it, and beside it `NAME.ids.txt`, an item id a line
in the order of the rows. Parquet: the columns `item_id` and `vector`, lists of numbers. A folder or a glob holds parts.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InsessionError, UsageError
from schemas.ids import MAX_ID_BYTES, ItemId
from session_model.data.files import data_files
from session_model.data.rows import check_ids
from session_model.data.tables import BATCH_ROWS, open_parquet
from session_model.files import file_sha256

MAX_DIMENSIONS: Final = 4_096
MAX_BYTES: Final = 2 << 30
"""Of all vectors as float32."""
ITEM_COLUMN, VECTOR_COLUMN = "item_id", "vector"
_IDS_SUFFIX: Final = ".ids.txt"
_FORMS: Final = (
    f"name a .npy file with its ids in NAME{_IDS_SUFFIX} beside it, or Parquet with the columns {ITEM_COLUMN} and "
    f"{VECTOR_COLUMN}"
)


@dataclass(frozen=True, slots=True)
class VectorFile:
    """One vector an item; vectors: (n_items, n_dimensions) float32, finite."""

    item_ids: Sequence[ItemId]
    vectors: NDArray[np.float32]


def read_vectors(path: Path) -> VectorFile:
    """Read item vectors, without unpickling anything.

    Raises UsageError where the path is wrong, InsessionError where the content is: nothing of such a file is taken.
    """
    parts, seen = list[NDArray[np.float32]](), dict[ItemId, Path]()
    for file in data_files(path):
        for ids, vectors in _parts(file):
            _check(file, ids, vectors)
            if parts and vectors.shape[1] != parts[0].shape[1]:
                raise InsessionError(
                    f"{file} has vectors of {vectors.shape[1]} numbers, others have {parts[0].shape[1]}; give those of "
                    "one model"
                )
            for item_id in ids:
                if item_id in seen:
                    raise InsessionError(f"{file}: item {item_id} has a vector in {seen[item_id]} already; keep one")
                seen[item_id] = file
            parts.append(vectors)
            if sum(part.nbytes for part in parts) > MAX_BYTES:
                raise _too_large(path)
    if not parts:
        raise UsageError(f"{path} holds no item vectors; {_FORMS}")
    return VectorFile(list(seen), np.concatenate(parts))


def vectors_sha256(path: Path) -> str:
    """Hash all that `read_vectors` reads; raises UsageError where nothing is there, OSError."""
    files = dict.fromkeys(file for found in data_files(path) for file in (found, _ids_beside(found)) if file.exists())
    return hashlib.sha256("".join(file_sha256(file) for file in files).encode()).hexdigest()


def _ids_beside(file: Path) -> Path:
    return file.with_name(file.stem + _IDS_SUFFIX)


_Part = tuple[list[ItemId], NDArray[np.float32]]


def _parts(file: Path) -> Iterator[_Part]:
    if file.suffix == ".npy":
        yield _read_array(file)
    elif file.suffix == ".parquet":
        yield from _read_parquet(file)
    elif not file.name.endswith(_IDS_SUFFIX):
        raise UsageError(f"{file} holds no item vectors; {_FORMS}")


def _read_array(file: Path) -> _Part:
    try:
        array = np.lib.format.open_memmap(file, mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise InsessionError(
            f"{file} cannot be read as .npy ({error}); write it by numpy.save(FILE, array, allow_pickle=False)"
        ) from error
    if array.ndim != 2 or array.dtype.kind != "f":
        raise InsessionError(
            f"{file} holds {array.shape} of {array.dtype}; give a row an item of float16, float32 or float64"
        )
    _check_size(file, *array.shape)
    ids = _read_ids(_ids_beside(file), file)
    if len(ids) != len(array):
        raise InsessionError(
            f"{file} has {len(array):,} rows and {file.stem}{_IDS_SUFFIX} {len(ids):,} lines; write one id a line, in "
            "the order of the rows"
        )
    return ids, _as_float32(array)


def _read_ids(file: Path, beside: Path) -> list[ItemId]:
    try:
        lines = file.read_text("utf-8").removesuffix("\n").split("\n")
    except FileNotFoundError as error:
        raise UsageError(f"{file} is missing: it names the items of {beside.name}, an id a line") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InsessionError(f"{file} cannot be read ({error}); write it in UTF-8, an id a line") from error
    return [ItemId(line.removesuffix("\r")) for line in lines]


def _read_parquet(file: Path) -> Iterator[_Part]:
    with open_parquet(file, instead=".npy") as table:
        names = table.schema_arrow.names
        for name in (ITEM_COLUMN, VECTOR_COLUMN):
            if name not in names:
                raise UsageError(f"{file}: there is no column {name} (found: {', '.join(names)[:200]}); {_FORMS}")
        n_rows = table.metadata.num_rows
        for batch in table.iter_batches(BATCH_ROWS, columns=[ITEM_COLUMN, VECTOR_COLUMN]):
            ids = [ItemId(str(value)) for value in _values(batch.column(ITEM_COLUMN), file)]
            vectors = _vectors(batch.column(VECTOR_COLUMN), file, ids)
            _check_size(file, n_rows, vectors.shape[1])
            yield ids, vectors


def _values(column: Any, file: Path) -> list[str | int]:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        raise InsessionError(f"{file}: column {ITEM_COLUMN} ({kind}) holds no ids; write them as strings")
    values: list[str | int | None] = column.to_pylist()
    if None in values:
        raise InsessionError(f"{file}: column {ITEM_COLUMN} has rows without an id; leave them out")
    return [value for value in values if value is not None]


def _vectors(column: Any, file: Path, ids: Sequence[ItemId]) -> NDArray[np.float32]:
    """Return the lists of a column as rows; raises InsessionError where they are no numbers or of different length."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not pa.types.is_floating(kind.value_type):
        raise InsessionError(f"{file}: column {VECTOR_COLUMN} ({kind}) holds no lists of floating-point numbers")
    rows = column.cast(pa.large_list(kind.value_type))
    lengths = np.diff(rows.offsets.to_numpy())
    odd = np.flatnonzero((lengths != lengths[0]) | rows.is_null().to_numpy(zero_copy_only=False))
    if len(odd):
        raise InsessionError(
            f"{file}: the vector of item {ids[int(odd[0])]} has {lengths[odd[0]]} numbers, that of {ids[0]} "
            f"{lengths[0]}; give vectors of one model, and leave out items without"
        )
    return _as_float32(rows.flatten().to_numpy(zero_copy_only=False).reshape(len(ids), int(lengths[0])))


def _as_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what becomes infinite is refused with its item's name
        return np.asarray(array, np.float32)


def _check_size(file: Path, n_rows: int, n_dimensions: int) -> None:
    if not 2 <= n_dimensions <= MAX_DIMENSIONS or not n_rows:
        raise InsessionError(
            f"{file} has {n_rows:,} vectors of {n_dimensions:,} numbers; give at least one, of 2 to {MAX_DIMENSIONS:,}"
        )
    if n_rows * n_dimensions * 4 > MAX_BYTES:
        raise _too_large(file)


def _too_large(path: Path) -> InsessionError:
    return InsessionError(
        f"{path} holds more than {MAX_BYTES >> 30} GiB of vectors as float32; leave out items that nobody can buy, or "
        "reduce the dimensions (scikit-learn's PCA): a release keeps 64 of them"
    )


def _check(file: Path, ids: Sequence[ItemId], vectors: NDArray[np.float32]) -> None:
    for item_id in ids:
        try:
            check_ids(item_id)
        except ValueError as error:
            raise InsessionError(f"{file}: item {item_id[:MAX_ID_BYTES]!r}: {error}") from error
    odd = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(odd):
        raise InsessionError(
            f"{file}: the vector of item {ids[int(odd[0])]} holds NaN or infinity, as do {len(odd) - 1:,} others; "
            "leave such items out, or encode them again"
        )
