"""The Bus on disk, S3 and in memory, by obstore: the only module that imports it (docs/adr/0013).

S3 is reached as the AWS_* variables say: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION,
AWS_ENDPOINT_URL for another provider than AWS, and AWS_ALLOW_HTTP=true where that endpoint has no TLS.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from schemas.bus import Artifact, ArtifactBus, ArtifactError, BusError, FolderUrl, MemoryUrl, S3Url, parse_bus_url
from schemas.errors import UsageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

CONNECT_TIMEOUT: Final = timedelta(seconds=5)
REQUEST_TIMEOUT: Final = timedelta(minutes=10)
"""Of one object, the largest too: the variables of a network with a million items are some 500 MB."""
RETRY_TIMEOUT: Final = timedelta(seconds=20)
MAX_RETRIES: Final = 3
DEFAULT_REGION: Final = "us-east-1"
"""What S3's own clients take where other providers ask for none."""
_MAX_CLAIM_BYTES: Final = 1 << 20
_in_memory: Final[dict[str, "ObjectStore"]] = {}


def open_bus(text: str) -> ArtifactBus:
    """Open what a URL names, without connecting; raises UsageError for a wrong one, and without obstore."""
    url = parse_bus_url(text)
    try:
        from obstore.store import LocalStore, MemoryStore, S3Store  # noqa: PLC0415  an extra that a worker lacks
    except ImportError as error:
        raise UsageError(f"{url} needs obstore: pip install 'insession[bus]'") from error
    match url:
        case FolderUrl(path):
            if not path.is_dir():
                raise UsageError(f"{path} is no folder; name one that is there")
            return ObstoreBus(str(url), LocalStore(path))
        case MemoryUrl(name):
            return ObstoreBus(str(url), _in_memory.setdefault(name, MemoryStore()))
        case S3Url(bucket, prefix):
            allow_http = _allows_http(os.environ)
            region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
            store = S3Store(
                bucket,
                prefix=prefix or None,
                region=region,
                client_options={
                    "allow_http": allow_http,  # the variable alone is passed over once there are client_options
                    "connect_timeout": CONNECT_TIMEOUT,
                    "timeout": REQUEST_TIMEOUT,
                },
                retry_config={"max_retries": MAX_RETRIES, "retry_timeout": RETRY_TIMEOUT},
            )
            return ObstoreBus(str(url), store)


def _allows_http(environment: Mapping[str, str]) -> bool:
    allows = environment.get("AWS_ALLOW_HTTP", "").lower() == "true"
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        if environment.get(name, "").startswith("http:") and not allows:
            raise UsageError(f"{name} has no TLS; give it an https: address, or set AWS_ALLOW_HTTP=true if you mean it")
    return allows


class ObstoreBus:
    """Objects of one store."""

    def __init__(self, url: str, store: "ObjectStore") -> None:
        self._url = url
        self._store = store

    def find(self, prefix: str = "") -> Iterator[Artifact]:
        """Find what lies below a folder of names."""
        with self._told(f"listing {prefix or 'it'}"):
            for page in self._store.list(prefix or None):
                for found in page:
                    yield Artifact(found["path"], found["size"])

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Return the content, None where there is none."""
        with self._told(f"reading {name}"):
            try:
                found = self._store.get(name)
            except FileNotFoundError:
                return None
            self._check_size(name, found.meta["size"], max_bytes)
            return bytes(found.bytes())

    def write(self, name: str, content: bytes) -> None:
        """Write it whole."""
        with self._told(f"writing {name}"):
            self._store.put(name, content)

    def claim(self, name: str, content: bytes) -> bytes:
        """Write it only where nothing is, and return what is there now."""
        from obstore.exceptions import AlreadyExistsError  # noqa: PLC0415

        with self._told(f"claiming {name}"):
            try:
                self._store.put(name, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return self.read(name, _MAX_CLAIM_BYTES) or b""
        return content

    def remove(self, name: str) -> None:
        """Remove it; no effect where there is none."""
        with self._told(f"removing {name}"), suppress(FileNotFoundError):
            self._store.delete(name)

    def upload(self, folder: Path, prefix: str, names: list[str]) -> None:
        """Write the files of a folder below `prefix`."""
        for name in names:
            with self._told(f"writing {prefix}/{name}"):
                self._store.put(f"{prefix}/{name}", folder / name)

    def download(self, prefix: str, sizes_bytes: dict[str, int], folder: Path) -> None:
        """Read objects below `prefix` into new files of a folder."""
        for name, max_bytes in sizes_bytes.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                for chunk in self._chunks(f"{prefix}/{name}", max_bytes):
                    file.write(chunk)

    def _chunks(self, name: str, max_bytes: int) -> Iterator[bytes]:
        """Read one object in pieces. What the caller does between them is not the Bus's fault: not told as such."""
        with self._told(f"reading {name}"):
            found = self._store.get(name)
            self._check_size(name, found.meta["size"], max_bytes)
            chunks: Iterator[Any] = iter(found.stream())
        while True:
            with self._told(f"reading {name}"):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield bytes(chunk)

    def _check_size(self, name: str, size_bytes: int, max_bytes: int) -> None:
        if size_bytes > max_bytes:
            raise ArtifactError(
                f"{self._url}: {name} has {size_bytes} bytes, {max_bytes} were expected; publish it again"
            )

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError  # noqa: PLC0415

        try:
            yield
        except (NotFoundError, FileNotFoundError) as error:
            raise ArtifactError(f"{self._url}: {doing}: nothing is there; check the bucket and the name") from error
        except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
            raise BusError(f"{self._url}: {doing}: refused; check AWS_ACCESS_KEY_ID and its rights") from error
        except (BaseError, OSError) as error:
            why = str(error).partition("\n")[0][:300]
            raise BusError(
                f"{self._url}: {doing} failed ({why}); check that it can be reached, then run again"
            ) from error
