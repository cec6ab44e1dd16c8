"""What a release would take in memory is told before it is taken."""

import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest

from schemas.release_folder import ReleaseError
from session_model.release.copies import ReleaseCopies, load_release
from session_model.release.memory import check_memory
from tests.builders.releases import seal, write_release

TRANSITIONS = "assets.extra/transitions.npz"


def header(shape: str, descr: str = "|u1") -> bytes:
    """Write the head of a .npy file that claims `shape`."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text = text.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def load_with(tmp_path: Path, name: str, content: bytes) -> None:
    """Load a release of which one part was replaced by whoever made it."""
    directory = write_release(tmp_path)
    (directory / name).write_bytes(content)
    seal(directory)
    load_release(directory)


def test_a_small_archive_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    """Three gigabytes of zeros in three megabytes take no memory."""
    directory = write_release(tmp_path)
    with (
        zipfile.ZipFile(directory / TRANSITIONS, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("starts.npy", "w", force_zip64=True) as member,
    ):
        member.write(header("(3000000000,)"))
        zeros = b"\0" * 10_000_000
        for _ in range(300):
            member.write(zeros)
    seal(directory)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ReleaseError, match=r"transitions\.npz: .* serving\.release_max_memory_bytes allows 536870912"):
        load_release(directory)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB


@pytest.mark.parametrize("name", ["assets.extra/popularity.npy", "assets.extra/knn/idf.npy"])
@pytest.mark.parametrize("shape", ["(1000000000000,)", "(1,)", "(-1,)"])
def test_an_array_that_claims_another_size_than_its_file_is_refused(tmp_path: Path, name: str, shape: str) -> None:
    """The claim is not believed, mapped or not."""
    with pytest.raises(ReleaseError, match=r"its header claims"):
        load_with(tmp_path, name, header(shape, "<f8") + b"\0" * 80)


def test_objects_are_refused(tmp_path: Path) -> None:
    """Nothing is ever unpickled."""
    with pytest.raises(ReleaseError, match=r"popularity\.npy cannot be read"):
        load_with(tmp_path, "assets.extra/popularity.npy", header("(1,)", "|O") + b"\0" * 8)


@pytest.mark.parametrize("content", [b"", b"PK", b"\0" * 100, b"PK\x05\x06" + b"\0" * 8 + b"\xff" * 4 + b"\0" * 6])
def test_a_damaged_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    """Before its list of members is read."""
    with pytest.raises(ReleaseError, match=r"transitions\.npz cannot be read"):
        load_with(tmp_path, TRANSITIONS, content)


def test_an_archive_of_many_members_is_refused(tmp_path: Path) -> None:
    """The list of members, too, takes memory."""
    directory = write_release(tmp_path)
    with zipfile.ZipFile(directory / TRANSITIONS, "w") as archive:
        for number in range(2_000):
            archive.writestr(f"{number}.npy", b"")
    seal(directory)
    with pytest.raises(ReleaseError, match=r"no archive as numpy writes it"):
        load_release(directory)


def test_oversized_json_is_refused(tmp_path: Path) -> None:
    """Parsed it takes a multiple of its size."""
    directory = write_release(tmp_path)
    (directory / "assets.extra/vocabulary.json").write_text('["' + "a" * 1_000_000 + '"]')
    seal(directory)
    with pytest.raises(ReleaseError, match=r"vocabulary\.json: .* raise it if the release is yours"):
        ReleaseCopies(tmp_path / "copies", max_memory_bytes=5_000_000).load(directory)


def test_the_mapped_index_is_not_counted(tmp_path: Path) -> None:
    """It lies in the page cache, which gives way."""
    (tmp_path / "knn").mkdir()
    np.save(tmp_path / "knn/session_items.npy", np.zeros(10_000, np.uint8))
    check_memory(tmp_path, 5_000, mapped=["knn"], apart="")
    with pytest.raises(ReleaseError, match=r"session_items\.npy: with it the parts would take 10000 bytes"):
        check_memory(tmp_path, 5_000, mapped=[], apart="")
