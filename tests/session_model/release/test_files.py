"""Releases on disk: what is verified, and what is refused."""

import os
from pathlib import Path

import pytest

from schemas.release import MANIFEST_PATH
from schemas.release_folder import MAX_MANIFEST_BYTES, ReleaseError
from session_model.ranking.reranker import Reranker
from session_model.release.copies import load_release
from session_model.release.files import newest_release, verify_release
from tests.builders.releases import SHARES, edit_manifest, seal, write_release


def test_the_manifest_names_every_other_file(tmp_path: Path) -> None:
    """SavedModel and parts are all under a checksum."""
    directory = write_release(tmp_path)
    on_disk = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    assert set(load_release(directory).manifest.files) == on_disk - {MANIFEST_PATH}


@pytest.mark.parametrize("name", ["saved_model.pb", "assets.extra/knn/idf.npy", "assets.extra/vocabulary.json"])
def test_one_flipped_bit_is_refused(tmp_path: Path, name: str) -> None:
    """A file that differs from its checksum is named, with the remedy."""
    directory = write_release(tmp_path)
    content = bytearray((directory / name).read_bytes())
    content[len(content) // 2] ^= 1
    (directory / name).write_bytes(content)
    with pytest.raises(ReleaseError, match=rf"{name}.* differs from the manifest; copy the release again"):
        load_release(directory)


@pytest.mark.parametrize("name", [MANIFEST_PATH, "saved_model.pb", "assets.extra/blend.json"])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    """The missing file is named."""
    directory = write_release(tmp_path)
    (directory / name).unlink()
    with pytest.raises(ReleaseError, match=rf"{name} is missing; copy the release again"):
        load_release(directory)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    """Even where the rest of the manifest would no longer be readable."""
    directory = write_release(tmp_path)
    (directory / MANIFEST_PATH).write_text('{"format": 99}')
    with pytest.raises(ReleaseError, match="has format 99, this insession reads 3"):
        load_release(directory)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 3}', "\x00"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, content: str) -> None:
    """Whatever the manifest holds, the error is one line that names it."""
    directory = write_release(tmp_path)
    (directory / MANIFEST_PATH).write_text(content)
    with pytest.raises(ReleaseError, match=r"manifest\.json cannot be read"):
        load_release(directory)


def test_a_part_of_the_wrong_kind_is_refused(tmp_path: Path) -> None:
    """A part that has its checksum and cannot be read is named."""
    directory = write_release(tmp_path)
    (directory / "assets.extra/knn/idf.npy").write_bytes(b"no array")
    seal(directory)
    with pytest.raises(ReleaseError, match=r"idf\.npy cannot be read"):
        load_release(directory)


def test_parts_of_different_size_are_refused(tmp_path: Path) -> None:
    """A vocabulary that is shorter than the index belongs to another release."""
    directory = write_release(tmp_path)
    (directory / "assets.extra/vocabulary.json").write_text('["a"]')
    seal(directory)
    with pytest.raises(ReleaseError, match="differ in size"):
        load_release(directory)


@pytest.mark.parametrize("name", ["../other", "/etc/passwd", "a/../../b", "a//b", "./a", "a\\b", "a\nb", ""])
def test_a_file_outside_the_release_is_refused(tmp_path: Path, name: str) -> None:
    """A manifest cannot make the reader open other files."""
    directory = write_release(tmp_path)
    edit_manifest(directory, lambda manifest: manifest.update(files={name: "0" * 64}))
    with pytest.raises(ReleaseError, match="outside the release"):
        load_release(directory)


def test_a_manifest_that_lists_nothing_is_refused(tmp_path: Path) -> None:
    """Every file needs a checksum, the SavedModel's too."""
    directory = write_release(tmp_path)
    edit_manifest(directory, lambda manifest: manifest.update(files={}, sizes_bytes={}))
    with pytest.raises(ReleaseError, match="has no checksum in the manifest; delete it, or copy the release again"):
        load_release(directory)


def test_a_file_besides_is_refused(tmp_path: Path) -> None:
    """One that the manifest does not list may be what a server reads."""
    directory = write_release(tmp_path)
    (directory / "variables").mkdir()
    (directory / "variables" / "variables.index").write_bytes(b"")
    with pytest.raises(ReleaseError, match=r"variables\.index has no checksum"):
        verify_release(directory)


@pytest.mark.parametrize("name", ["assets.extra/vocabulary.json", "assets.extra/knn", "saved_model.pb", MANIFEST_PATH])
def test_links_are_refused(tmp_path: Path, name: str) -> None:
    """Even where what lies behind has the right checksum: it changes without the release."""
    directory = write_release(tmp_path)
    (directory / name).rename(tmp_path / "outside")
    (directory / name).symlink_to(tmp_path / "outside")
    with pytest.raises(ReleaseError, match=r"is a link or no file at all; copy the release with plain files"):
        load_release(directory)


@pytest.mark.parametrize("name", ["assets.extra/vocabulary.json", "odd", MANIFEST_PATH])
def test_pipes_are_refused(tmp_path: Path, name: str) -> None:
    """Nobody waits for a writer."""
    directory = write_release(tmp_path)
    (directory / name).unlink(missing_ok=True)
    os.mkfifo(directory / name)
    with pytest.raises(ReleaseError, match="is a link or no file at all"):
        load_release(directory)


def test_a_size_that_differs_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    """Sizes are compared first, and for all files."""
    directory = write_release(tmp_path)
    os.truncate(directory / "saved_model.pb", 1 << 40)
    with pytest.raises(ReleaseError, match=r"saved_model\.pb differs from the manifest in size: \d+ bytes, not 5"):
        load_release(directory)


def test_a_release_without_sizes_is_read(tmp_path: Path) -> None:
    """Releases made before sizes were kept stay in use: their checksums say enough."""
    directory = write_release(tmp_path)
    edit_manifest(directory, lambda manifest: manifest.pop("sizes_bytes"))
    assert load_release(directory).version == 3


def test_a_huge_manifest_is_refused(tmp_path: Path) -> None:
    """It is not even parsed."""
    directory = write_release(tmp_path)
    edit_manifest(directory, lambda manifest: manifest.update(note="x" * MAX_MANIFEST_BYTES))
    with pytest.raises(ReleaseError, match=r"manifest\.json has more than 1048576 bytes"):
        load_release(directory)


@pytest.mark.parametrize("depth", [500, 100_000])
def test_a_deep_manifest_is_refused(tmp_path: Path, depth: int) -> None:
    """A field that nobody reads may be nested."""
    directory = write_release(tmp_path)
    (directory / MANIFEST_PATH).write_text('{"note": ' + "[" * depth + "}")
    with pytest.raises(ReleaseError, match=r"manifest\.json cannot be read"):
        load_release(directory)


def test_a_renumbered_release_is_refused(tmp_path: Path) -> None:
    """The directory's number is what a Predict names; a copy under another number would disagree with the server."""
    directory = write_release(tmp_path)
    other = directory.with_name("9")
    directory.rename(other)
    with pytest.raises(ReleaseError, match="says it is version 3"):
        load_release(other)


def test_other_features_are_refused(tmp_path: Path) -> None:
    """A release that reads features this code does not make would be fed nonsense."""
    directory = write_release(tmp_path)
    edit_manifest(directory, lambda manifest: manifest.update(feature_names=["log_length"]))
    with pytest.raises(ReleaseError, match="other prefix features"):
        load_release(directory)


def test_the_newest_release_has_the_highest_number(tmp_path: Path) -> None:
    """Numbers compare as numbers; temporary and other names are no releases."""
    for version in (2, 10, 9):
        write_release(tmp_path, version)
    for name in (".tmp-11", "12x", "latest"):
        (tmp_path / "session_gru" / name).mkdir()
    (tmp_path / "session_gru" / "99").write_text("no directory")
    assert newest_release(tmp_path / "session_gru").name == "10"


def test_no_release_is_one_line(tmp_path: Path) -> None:
    """The error says how to make one."""
    with pytest.raises(ReleaseError, match="make one with `insession train"):
        newest_release(tmp_path)


def test_a_reranker_of_other_features_is_refused(tmp_path: Path) -> None:
    """Weights without their features are noise."""
    foreign = Reranker(("a",), (1.0,), ((),), (), (), SHARES)
    with pytest.raises(ReleaseError, match="other features"):
        load_release(write_release(tmp_path, reranker=foreign))
