"""The Bus: where artefacts lie between those who make and those who use them, named by one form of URL.

`file:models` or a plain path, `s3://bucket/prefix`, and `memory:name`, which lives as long as its process.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote

from schemas.errors import InsessionError, UsageError

_FORMS: Final = "a path, file:PATH, s3://BUCKET/PREFIX or memory:NAME"
_LIKE_A_SCHEME: Final = "://"


class BusError(InsessionError):
    """The Bus refused, or did not answer. What was written whole before stays; the same command may be run again."""


class ArtifactError(BusError):
    """One object is missing or larger than was said: the Bus answers, but what lies there is not what it should be."""


@dataclass(frozen=True, slots=True)
class FolderUrl:
    """A folder of this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class S3Url:
    """What begins with `prefix` in a bucket; the prefix has no slash at its ends and may be empty."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


@dataclass(frozen=True, slots=True)
class MemoryUrl:
    """A store of this process, for tests; the same name is the same store."""

    name: str

    def __str__(self) -> str:
        return f"memory:{self.name}"


BusUrl = FolderUrl | S3Url | MemoryUrl


def parse_bus_url(text: str) -> BusUrl:
    """Read where artefacts lie; raises UsageError for any other form, and for credentials in an address."""
    if text.startswith("memory:"):
        return MemoryUrl(text.removeprefix("memory:").strip("/"))
    if text.startswith("file:"):
        rest = text.removeprefix("file:")
        if rest.startswith("//") and not rest.startswith("///"):
            raise UsageError(f"{text} names a host; a folder of this machine is file:PATH or file:///PATH")
        return _folder(text, unquote(rest.removeprefix("//")))
    if text.startswith("s3://"):
        bucket, _, prefix = text.removeprefix("s3://").partition("/")
        if not bucket or any(character in bucket for character in "@:?#"):
            raise UsageError(
                f"{text} has no bucket's name after s3://; credentials are AWS_* variables, not in the URL"
            )
        if "?" in prefix or "#" in prefix:
            raise UsageError(f"{text}: s3:// takes no parameters; endpoint and region are AWS_* variables")
        parts = prefix.strip("/").split("/")
        if ".." in parts or "." in parts:
            raise UsageError(f"{text} has a part . or ..; write the prefix out")
        return S3Url(bucket, "/".join(parts))
    if _LIKE_A_SCHEME in text:
        raise UsageError(f"{text} is none of {_FORMS}")
    return _folder(text, text)


def _folder(text: str, path: str) -> FolderUrl:
    if not path or "\0" in path:
        raise UsageError(f"{text!r} names no folder; write {_FORMS}")
    return FolderUrl(Path(path))


@dataclass(frozen=True, slots=True)
class Artifact:
    """One object below a Bus URL. name: relative to it, with slashes."""

    name: str
    size_bytes: int


class ArtifactBus(Protocol):
    """Objects by name below one URL. An object appears whole or not at all; all methods raise BusError.

    There is no rename: what has many objects exists once its last one does, which is claimed (`claim`).
    """

    def find(self, prefix: str = "") -> Iterator[Artifact]:
        """Find what lies below a folder of names, in no order; the names are those to read by."""

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Return the content, None where there is none; raises ArtifactError where it has more than `max_bytes`."""

    def write(self, name: str, content: bytes) -> None:
        """Write it whole; what was there is replaced."""

    def claim(self, name: str, content: bytes) -> bytes:
        """Write it only where nothing is, and return what is there now: `content`, or what another wrote before.

        Of many who claim a name at once, one wins. Who asks again after a lost answer finds its own content.
        """

    def remove(self, name: str) -> None:
        """Remove it; no effect where there is none."""

    def upload(self, folder: Path, prefix: str, names: list[str]) -> None:
        """Write the files of a folder below `prefix`; what is there already is replaced."""

    def download(self, prefix: str, sizes_bytes: dict[str, int], folder: Path) -> None:
        """Read objects below `prefix` into new files of a folder; raises OSError, too, of its disk.

        sizes_bytes: by name. An object that is missing, or larger, is an ArtifactError; a checksum finds the rest.
        """
