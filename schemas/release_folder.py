"""A release as a folder for which nobody vouches yet: looked at before it is read, and copied while it is hashed.

Another process may write into the folder at any moment. So nothing is trusted that was read twice: who needs what was
verified takes the copy.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from schemas.errors import InsessionError
from schemas.release import MANIFEST_PATH, RELEASE_FORMAT, ReleaseManifest
from schemas.release_signature import SIGNATURE_PATH, is_signed
from schemas.secret import Secret

MAX_MANIFEST_BYTES: Final = 1 << 20
MAX_FILES: Final = 1_000
_CHUNK_BYTES: Final = 1 << 20


class ReleaseError(InsessionError):
    """A release is missing, damaged or foreign. Nothing of it is used: the worker stays with the one it has."""


@dataclass(frozen=True, slots=True)
class ReleaseFolder:
    """A folder that holds just what its manifest says, as far as can be told without reading the files.

    content: the manifest as it lies there. sizes: bytes by name, of the files that the manifest lists.
    """

    path: Path
    manifest: ReleaseManifest
    content: bytes
    sizes: dict[str, int]

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the manifest, hex: it stands for all that the release holds."""
        return hashlib.sha256(self.content).hexdigest()

    def verify(self) -> None:
        """Hold every file against its checksum, in constant memory; raises ReleaseError, and OSError of the disk."""
        for name in self.manifest.files:
            self._read(name, None)

    def within(self, folder: str, *, at: Path) -> "ReleaseFolder":
        """Return what lies below `folder` as it should lie in another place."""
        sizes = {name: size for name, size in self.sizes.items() if name.startswith(f"{folder}/")}
        files = {name: self.manifest.files[name] for name in sizes}
        return replace(self, path=at, manifest=msgspec.structs.replace(self.manifest, files=files), sizes=sizes)

    def copy(self, target: Path, folder: str | None = None) -> None:
        """Verify every file, and write those below `folder` (None: all) to `target`, through to the disk.

        What lies in `target` afterwards has the checksums of the manifest, whatever happened to the source meanwhile.
        """
        for name in self.manifest.files:
            copy = target / name if folder is None or name.startswith(f"{folder}/") else None
            if copy is not None:
                copy.parent.mkdir(parents=True, exist_ok=True)
            self._read(name, copy)
        for path in (target, *(path for path in target.rglob("*") if path.is_dir())):
            sync_path(path)

    def _read(self, name: str, copy: Path | None) -> None:
        path, digest, left = self.path / name, hashlib.sha256(), self.sizes[name]
        with ExitStack() as stack:
            source = stack.enter_context(_open_plain(path))
            target = None if copy is None else stack.enter_context(copy.open("xb"))
            while chunk := source.read(min(_CHUNK_BYTES, left + 1)):
                left -= len(chunk)
                if left < 0:
                    break
                digest.update(chunk)
                if target is not None:
                    target.write(chunk)
            if left or digest.hexdigest() != self.manifest.files[name]:
                raise ReleaseError(f"release file {path} differs from the manifest; copy the release again")
            if target is not None:
                target.flush()
                os.fsync(target.fileno())


def look_at_release(directory: Path, key: Secret | None = None) -> ReleaseFolder:
    """Read the manifest alone and compare it with what lies in the folder.

    key: then a release without its signature is refused. Raises ReleaseError with the remedy, OSError of the disk.
    """
    content = _read_small(directory / MANIFEST_PATH)
    if key is not None:
        _check_signature(directory, content, key)
    manifest = decode_manifest(str(directory), content)
    if directory.name.isdecimal() and int(directory.name) != manifest.version:
        raise ReleaseError(
            f"release {directory} says it is version {manifest.version}; give the directory its own number back"
        )
    found = dict(_plain_files(directory))
    for name in manifest.files:
        if name not in found:
            raise ReleaseError(f"release file {directory / name} is missing; copy the release again")
    for name in found.keys() - manifest.files.keys() - {MANIFEST_PATH, SIGNATURE_PATH}:
        raise ReleaseError(
            f"release file {directory / name} has no checksum in the manifest; delete it, or copy the release again"
        )
    sizes = {name: found[name] for name in manifest.files}
    if manifest.sizes_bytes and manifest.sizes_bytes != sizes:
        wrong = min(name for name in sizes | manifest.sizes_bytes if manifest.sizes_bytes.get(name) != sizes.get(name))
        raise ReleaseError(
            f"release file {directory / wrong} differs from the manifest in size: {sizes.get(wrong)} bytes, not "
            f"{manifest.sizes_bytes.get(wrong)}; copy the release again"
        )
    return ReleaseFolder(directory, manifest, content, sizes)


def decode_manifest(release: str, content: bytes) -> ReleaseManifest:
    """Read a manifest whose files lie inside the release; `release` is what messages name. Raises ReleaseError."""
    try:
        found = msgspec.json.decode(content, type=_FormatOnly).format
        if found != RELEASE_FORMAT:
            raise ReleaseError(
                f"release {release} has format {found}, this insession reads {RELEASE_FORMAT}; "
                "train it again, or run the insession that made it"
            )
        manifest = msgspec.json.decode(content, type=ReleaseManifest)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        where = f"{release}/{MANIFEST_PATH}"
        raise ReleaseError(f"release manifest {where} cannot be read ({error}); copy the release again") from error
    for name in manifest.files:
        if not _is_inside(name):
            raise ReleaseError(f"release {release}: the manifest names {name!r}, outside the release; do not use it")
    return manifest


def folder_stamp(directory: Path) -> str:
    """Return a digest that differs between contents of a folder, without reading: names, sizes and times of change.

    Differs after a repair in place, too. Raises OSError.
    """
    digest = hashlib.sha256()
    for path in sorted(_walk(directory)):
        found = path.lstat()
        facts = (str(path), found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        digest.update(repr(facts).encode())
    return digest.hexdigest()


def sync_path(path: Path) -> None:
    """See a file, or the names in a folder, onto the disk (fsync(2))."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_signature(directory: Path, manifest: bytes, key: Secret) -> None:
    try:
        signature = _read_small(directory / SIGNATURE_PATH)
    except ReleaseError as error:
        raise ReleaseError(
            f"release {directory} is not signed, and serving.release_key asks for it; if it is yours: "
            f"`insession release sign {directory} --key-file FILE`"
        ) from error
    if not is_signed(manifest, signature, key):
        raise ReleaseError(
            f"release {directory} was signed with another key, or its manifest was changed since; do not use it unless "
            "you know where it is from"
        )


class _FormatOnly(msgspec.Struct):
    format: int


def _read_small(path: Path) -> bytes:
    with _open_plain(path) as file:
        content = file.read(MAX_MANIFEST_BYTES + 1)
    if len(content) > MAX_MANIFEST_BYTES:
        raise ReleaseError(f"release file {path} has more than {MAX_MANIFEST_BYTES} bytes; copy the release again")
    return content


def _open_plain(path: Path) -> BinaryIO:
    """Open a plain file: neither through a link nor, waiting for ever, a pipe."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise _not_plain(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ReleaseError(f"release file {path} is missing; copy the release again") from error
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise _not_plain(path)
    return file


def _plain_files(directory: Path) -> Iterator[tuple[str, int]]:
    for count, path in enumerate(_walk(directory)):
        found = path.lstat()
        if count >= MAX_FILES:
            raise ReleaseError(f"release {directory} has more than {MAX_FILES} files and folders; do not use it")
        if stat.S_ISREG(found.st_mode):
            yield path.relative_to(directory).as_posix(), found.st_size
        elif not stat.S_ISDIR(found.st_mode):
            raise _not_plain(path)


def _walk(directory: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    for folder, folders, files in os.walk(directory, onerror=fail):
        for name in (*folders, *files):
            yield Path(folder, name)


def _not_plain(path: Path) -> ReleaseError:
    return ReleaseError(
        f"release file {path} is a link or no file at all; copy the release with plain files in it: `rsync -rL`"
    )


def _is_inside(name: str) -> bool:
    return name.isprintable() and "\\" not in name and all(part not in {"", ".", ".."} for part in name.split("/"))
