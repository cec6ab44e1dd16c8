"""The shop's own vectors, as it writes them and as it should not."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import InsessionError, UsageError
from session_model.data.vector_files import read_vectors, vectors_sha256

VECTORS = np.array([[1.0, 2.0], [3.0, -4.0], [0.5, 0.25]])
IDS = ["a", "ü 2", "c"]
LISTS = VECTORS.tolist()


def write_npy(folder: Path, vectors: Any = VECTORS, ids: str = "a\nü 2\nc\n", name: str = "looks") -> Path:
    """Write an array with its ids beside it."""
    np.save(folder / f"{name}.npy", vectors)
    (folder / f"{name}.ids.txt").write_text(ids)
    return folder / f"{name}.npy"


def write_parquet(folder: Path, ids: Any = IDS, vectors: Any = LISTS, kind: Any = None) -> Path:
    """Write the two columns."""
    table = pa.table({"item_id": ids, "vector": pa.array(vectors, kind or pa.list_(pa.float32()))})
    pq.write_table(table, folder / "looks.parquet")
    return folder / "looks.parquet"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_an_array_lies_beside_its_ids(tmp_path: Path, dtype: str) -> None:
    """A row an id, in their order."""
    found = read_vectors(write_npy(tmp_path, VECTORS.astype(dtype)))
    assert list(found.item_ids) == IDS
    assert found.vectors.dtype == np.float32
    assert found.vectors.tolist() == VECTORS.tolist()


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 2)])
def test_parquet_has_two_columns(tmp_path: Path, kind: Any) -> None:
    """Lists of whatever kind and width of numbers."""
    found = read_vectors(write_parquet(tmp_path, kind=kind))
    assert list(found.item_ids) == IDS
    assert found.vectors.tolist() == VECTORS.tolist()


def test_ids_may_be_numbers(tmp_path: Path) -> None:
    """As warehouses have them."""
    assert list(read_vectors(write_parquet(tmp_path, ids=[7, 8, 9])).item_ids) == ["7", "8", "9"]


def test_a_folder_may_hold_parts_of_both_kinds(tmp_path: Path) -> None:
    """What was encoded yesterday, and what is new."""
    write_npy(tmp_path)
    write_parquet(tmp_path, ids=["d", "e", "f"])
    assert list(read_vectors(tmp_path).item_ids) == [*IDS, "d", "e", "f"]


def without_ids(folder: Path) -> Path:
    """Forget the ids."""
    path = write_npy(folder)
    (folder / "looks.ids.txt").unlink()
    return path


def pickled(folder: Path) -> Path:
    """Write what runs code when it is read."""
    (folder / "looks.npy").write_bytes(pickle.dumps(VECTORS))
    return folder / "looks.npy"


def truncated(folder: Path) -> Path:
    """Lose the end of the file."""
    path = write_npy(folder, np.zeros((100, 8)))
    path.write_bytes(path.read_bytes()[:-1])
    return path


def one_column(folder: Path) -> Path:
    """Call the column otherwise."""
    pq.write_table(pa.table({"item_id": IDS, "embedding": VECTORS.tolist()}), folder / "looks.parquet")
    return folder / "looks.parquet"


def of_two_models(folder: Path) -> Path:
    """Write parts of different width."""
    write_npy(folder)
    write_npy(folder, np.ones((3, 4)), "x\ny\nz", name="text")
    return folder


def huge(folder: Path) -> Path:
    """Claim many gigabytes, in a file without a byte of them."""
    np.lib.format.open_memmap(folder / "looks.npy", mode="w+", dtype=np.float32, shape=(1 << 20, 1024))
    return folder / "looks.npy"


def other(folder: Path) -> Path:
    """Name a file of another kind."""
    (folder / "looks.csv").write_text("a,1,2\n")
    return folder / "looks.csv"


NAN = np.array([[1.0, 2.0], [np.nan, 1.0], [1.0, np.inf]])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (without_ids, r"looks\.ids\.txt is missing: it names the items of looks\.npy, an id a line"),
        (pickled, "cannot be read as .npy .*; write it by numpy.save"),
        (truncated, "cannot be read as .npy"),
        (lambda folder: write_npy(folder, np.array([{}])), "cannot be read as .npy"),
        (lambda folder: write_npy(folder, np.ones(3)), r"holds \(3,\) of float64; give a row an item"),
        (lambda folder: write_npy(folder, np.ones((3, 2), np.int64)), "of int64; give a row an item of float16"),
        (lambda folder: write_npy(folder, ids="a\nb"), "has 3 rows and looks.ids.txt 2 lines"),
        (lambda folder: write_npy(folder, ids="a\nb\na"), "item a has a vector in .* already; keep one"),
        (lambda folder: write_npy(folder, ids="a\n\nc"), "item '': an id has 0 bytes"),
        (lambda folder: write_npy(folder, NAN), "the vector of item ü 2 holds NaN or infinity, as do 1 others; leave"),
        (lambda folder: write_npy(folder, VECTORS * 1e300), "the vector of item a holds NaN or infinity"),
        (lambda folder: write_npy(folder, np.ones((3, 1))), "has 3 vectors of 1 numbers; give at least one, of 2 to"),
        (lambda folder: write_npy(folder, np.ones((3, 5_000))), "3 vectors of 5,000 numbers"),
        (huge, "holds more than 2 GiB of vectors as float32; leave out items that nobody can buy"),
        (of_two_models, "text.npy has vectors of 4 numbers, others have 2; give those of one model"),
        (one_column, r"no column vector \(found: item_id, embedding\); name a .npy file"),
        (lambda folder: write_parquet(folder, ids=[0.5, 1.0, 2.0]), "column item_id .* holds no ids"),
        (lambda folder: write_parquet(folder, ids=["a", None, "c"]), "rows without an id; leave them out"),
        (
            lambda folder: write_parquet(folder, vectors=[[1.0, 2.0], [1.0], [1.0, 2.0]]),
            "the vector of item ü 2 has 1 numbers, that of a 2",
        ),
        (lambda folder: write_parquet(folder, vectors=[[1.0, 2.0], None, [1.0, 2.0]]), "the vector of item ü 2 has 0"),
        (lambda folder: write_parquet(folder, vectors=[1.0, 2.0, 3.0], kind=pa.float32()), "holds no lists of"),
        (lambda folder: write_parquet(folder, vectors=[[1.0, None]] * 3), "the vector of item a holds NaN"),
        (other, "looks.csv holds no item vectors; name a .npy file with its ids"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(tmp_path: Path, write: Callable[[Path], Path], message: str) -> None:
    """The file and the item are named."""
    with pytest.raises((InsessionError, UsageError), match=message):
        read_vectors(write(tmp_path))


def test_another_id_is_another_file(tmp_path: Path) -> None:
    """A training that was interrupted goes on with the same vectors of the same items only."""
    first = vectors_sha256(write_npy(tmp_path))
    assert vectors_sha256(write_npy(tmp_path)) == first
    assert vectors_sha256(write_npy(tmp_path, ids="a\nc\nb\n")) != first
