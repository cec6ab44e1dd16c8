"""Which releases of a model serve: the champion, the one before it, and a candidate on trial; each change is a record.

Records lie in `<model>/rollout/`, numbered without a gap; the highest is in force. None is ever replaced, so together
they are the audit of who served when. Without a record the newest release serves.
"""

import re
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from schemas.errors import InsessionError
from schemas.events import Instant
from schemas.ids import ModelVersion, VisitorId

ROLLOUT_FOLDER: Final = "rollout"
MAX_ROLLOUT_BYTES: Final = 1 << 16
_RECORD: Final = re.compile(r"([0-9]{12})\.json")

Change = Literal["promote", "rollback", "shadow", "canary", "withdraw"]
Stage = Literal["shadow", "canary"]


class RolloutError(InsessionError):
    """A record of the rollout is none. What serves goes on serving."""


class Candidate(Struct, frozen=True, kw_only=True):
    """A release on trial: `shadow` is asked beside the champion and shown to nobody, `canary` answers some visitors."""

    version: ModelVersion
    stage: Stage
    share: Annotated[float, Meta(ge=0, le=1, description="Of the visitors, whom it is asked for.")]

    def has(self, visitor_id: VisitorId) -> bool:
        """Return whether a visitor is among the share: always the same ones, and all of them in a larger share.

        By a hash that is salted with the version, so that the next candidate gets others.
        """
        digest = blake2b(visitor_id.encode(errors="surrogatepass"), digest_size=8, salt=self._salt).digest()
        return int.from_bytes(digest) < self.share * (1 << 64)

    @property
    def _salt(self) -> bytes:
        return self.version.to_bytes(8)


class Rollout(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What serves from this change on, and why.

    revision: one more than the record before. rejected: never served again unless promoted anew.
    """

    revision: Annotated[int, Meta(ge=1)]
    changed_at: Instant
    change: Change
    reason: str
    by: Annotated[str, Meta(description="Who asked for it: an account of the machine, or a service.")]
    champion: ModelVersion
    previous: Annotated[ModelVersion | None, Meta(description="The champion before, for a step back.")] = None
    candidate: Candidate | None = None
    rejected: Annotated[tuple[ModelVersion, ...], Meta(max_length=100)] = ()

    @property
    def roles(self) -> tuple[ModelVersion, ...]:
        """Return the releases that have a part, the champion first."""
        candidate = None if self.candidate is None else self.candidate.version
        return tuple(version for version in (self.champion, self.previous, candidate) if version is not None)


def preference(versions: Iterable[ModelVersion], rollout: Rollout | None) -> list[ModelVersion]:
    """Return the order in which `versions` are tried to serve everybody, best first.

    The champion, then the one before it; then, so that something serves where neither is whole, the newest of those
    that were not rejected and are not on trial.
    """
    newest = sorted(versions, reverse=True)
    if rollout is None:
        return newest
    first = [version for version in (rollout.champion, rollout.previous) if version in newest]
    barred = {*rollout.roles, *rollout.rejected}
    return [*first, *(version for version in newest if version not in barred)]


def record_name(revision: int) -> str:
    """Return the name of a record below the folder of the model."""
    return f"{ROLLOUT_FOLDER}/{revision:012}.json"


def revision_of(name: str) -> int | None:
    """Read the number back; None where the name, relative to the rollout's folder, is no record's."""
    match = _RECORD.fullmatch(name)
    return None if match is None else int(match[1])


def decode_rollout(where: str, content: bytes) -> Rollout:
    """Read a record; raises RolloutError."""
    try:
        return msgspec.json.decode(content, type=Rollout)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RolloutError(f"{where} is no record of a rollout: {error}; what serves stays") from error


def read_rollout(folder: Path) -> Rollout | None:
    """Read what is in force in the folder of a model; None where no record is there.

    Raises RolloutError, and OSError of the disk.
    """
    try:
        revisions = [revision_of(path.name) for path in (folder / ROLLOUT_FOLDER).iterdir()]
    except FileNotFoundError:
        return None
    newest = max((revision for revision in revisions if revision is not None), default=None)
    if newest is None:
        return None
    path = folder / record_name(newest)
    with path.open("rb") as file:
        content = file.read(MAX_ROLLOUT_BYTES + 1)
    if len(content) > MAX_ROLLOUT_BYTES:
        raise RolloutError(f"{path} is too large for a record of a rollout; what serves stays")
    return decode_rollout(str(path), content)
