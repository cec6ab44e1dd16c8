"""Where a job's result goes: a folder that all tasks share, or the Bus, to which it is published when it is whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from agents.artifact_bus import open_bus
from agents.batch.parts import MANIFEST, check_result
from schemas.bus import FolderUrl, parse_bus_url
from schemas.errors import UsageError

_MAX_MANIFEST_BYTES = 1 << 26


@contextmanager
def result_folder(
    out: str, master: str, manifest: str = MANIFEST, *more: str, is_replaced: bool = False
) -> Iterator[Path]:
    """Yield the folder into which a job writes, and publish it at the end where `out` is no folder of this machine.

    On the Bus the parts come first and the manifest last, claimed: a reader sees all of a result or none, and of two
    jobs that publish at once one wins. Tasks write into a temporary folder of this machine then, so they run on it.
    Raises UsageError where `master` is elsewhere, or a result is there already; on the Bus none is replaced.
    """
    url = parse_bus_url(out)
    if isinstance(url, FolderUrl):
        check_result(url.path, manifest, *more, is_replaced=is_replaced)
        yield url.path
        return
    if not master.startswith("local"):
        raise UsageError(f"{url} is published from this machine: leave out --master, or name a folder that all share")
    bus = open_bus(out)
    if bus.read(manifest, _MAX_MANIFEST_BYTES) is not None:
        raise UsageError(f"{url} holds a result already, and on the Bus none is replaced; name another --out")
    with TemporaryDirectory(prefix="insession-result-") as folder:
        result = Path(folder) / "result"
        yield result
        for path in sorted(path for path in result.rglob("*") if path.is_file() and path != result / manifest):
            bus.write(path.relative_to(result).as_posix(), path.read_bytes())
        content = (result / manifest).read_bytes()
        if bus.claim(manifest, content) != content:
            raise UsageError(f"{url} got another result meanwhile, which stays; name another --out")
