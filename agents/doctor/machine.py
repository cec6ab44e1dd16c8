"""What a worker needs of the machine it runs on: a data folder of its own, disk, a port."""

import fcntl
import os
import resource
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agents.doctor.findings import Finding, error, ok, warning
from agents.settings import Settings
from streams.delivery.codecs import CODECS, REMEDY, unreadable_codecs

_LITTLE_BYTES: Final = 2 << 30
_TOO_LITTLE_BYTES: Final = 256 << 20
_FILES_OF_A_WORKER: Final = 512
_FILES_OF_A_PARTITION: Final = 16


def machine_findings(settings: Settings) -> Iterator[Finding]:
    """Examine this machine as the place of a worker."""
    yield _codecs()
    yield _datadir(settings.kafka.datadir)
    yield _disk(settings.kafka.datadir)
    yield _open_files(settings)
    yield _web_port(settings.kafka.web_host, settings.kafka.web_port)


def _codecs() -> Finding:
    unreadable = unreadable_codecs()
    if unreadable:
        found = f"the worker's Kafka client cannot read topics compressed with {', '.join(unreadable)}"
        return error("codecs", found, REMEDY)
    return ok("codecs", f"the worker's Kafka client reads {', '.join(CODECS)}")


def _datadir(datadir: Path) -> Finding:
    check = "data folder"
    place = _existing(datadir)
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return error(check, f"{datadir} cannot be written", "give the worker rights on it, or set kafka.datadir")
    if any(_is_locked(file) for file in datadir.glob("**/LOCK")):
        return warning(
            check,
            f"{datadir} is in use by a running worker",
            "give every further worker on this machine a kafka.datadir and a kafka.web_port of its own",
        )
    return ok(check, f"{datadir} {'can be written' if datadir.exists() else 'will be made by the worker'}")


def _is_locked(file: Path) -> bool:
    """Return whether RocksDB holds its lock; ours is shared and let go at once."""
    try:
        with file.open("rb") as lock:
            fcntl.lockf(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _disk(datadir: Path) -> Finding:
    free = shutil.disk_usage(_existing(datadir)).free
    found = f"{free / (1 << 30):,.1f} GiB free for {datadir}"
    if free >= _LITTLE_BYTES:
        return ok("disk", found)
    finding = error if free < _TOO_LITTLE_BYTES else warning
    return finding("disk", found, "free some: RocksDB stops the worker on a full disk; or move kafka.datadir")


def _open_files(settings: Settings) -> Finding:
    """Judge the hard limit: a worker raises its own to that."""
    check = "open files"
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    copies = settings.topics.partitions * (1 + settings.kafka.standby_replicas)
    wanted = _FILES_OF_A_WORKER + _FILES_OF_A_PARTITION * copies
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return warning(
            check,
            f"at most {hard:,} can be open, and a worker that holds all partitions may need {wanted:,}",
            "raise the limit: `ulimit -Hn`, LimitNOFILE of the unit, the container's ulimits",
        )
    return ok(check, "no limit" if hard == resource.RLIM_INFINITY else f"{hard:,} can be open")


def _web_port(host: str, port: int) -> Finding:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as failure:  # a name that no resolver can be asked for is a UnicodeError
        return warning(
            "web port",
            f"{host}:{port} cannot be had: {getattr(failure, 'strerror', failure)}",
            "where that is not this deployment's running worker, set kafka.web_port to a free one",
        )
    return ok("web port", f"{host}:{port} is free")


def _existing(path: Path) -> Path:
    """Return the nearest folder on the way to `path` that exists."""
    path = path.absolute()
    return path if path.exists() else _existing(path.parent)
