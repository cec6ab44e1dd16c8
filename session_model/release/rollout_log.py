"""The records of a rollout on the Bus: read, and written by claims, so that of two writers one is refused."""

from collections.abc import Iterator
from typing import Final

import msgspec

from schemas.bus import ArtifactBus
from schemas.errors import InsessionError
from schemas.rollout import (
    MAX_ROLLOUT_BYTES,
    ROLLOUT_FOLDER,
    Rollout,
    RolloutError,
    decode_rollout,
    record_name,
    revision_of,
)

_MAX_REASON_CHARACTERS: Final = 1_000


class RolloutLog:
    """The rollout of one model. All methods raise BusError, and RolloutError for a record that is none."""

    def __init__(self, bus: ArtifactBus, model: str) -> None:
        self._bus = bus
        self._model = model

    def in_force(self) -> Rollout | None:
        """Return the newest record; None where nothing was ever promoted."""
        revisions = list(self._revisions())
        return self._read(max(revisions)) if revisions else None

    def records(self, *, newest_first: bool = False) -> Iterator[Rollout]:
        """Return all, the oldest first; each is read as it is asked for."""
        return map(self._read, sorted(self._revisions(), reverse=newest_first))

    def append(self, record: Rollout) -> Rollout:
        """Write a record that was made from the one in force; returns it as it lies there.

        Raises InsessionError where another writer was faster: its change may be the better one.
        """
        record = msgspec.structs.replace(record, reason=record.reason[:_MAX_REASON_CHARACTERS])
        content = msgspec.json.encode(record)
        if self._bus.claim(f"{self._model}/{record_name(record.revision)}", content) != content:
            raise InsessionError(
                f"somebody else changed the rollout of {self._model} at this moment; look at `insession release show`, "
                "then run this again if it still makes sense"
            )
        return record

    def _read(self, revision: int) -> Rollout:
        name = f"{self._model}/{record_name(revision)}"
        content = self._bus.read(name, MAX_ROLLOUT_BYTES)
        if content is None:
            raise RolloutError(f"{name} was there and is gone: somebody deletes from the Bus")
        return decode_rollout(name, content)

    def _revisions(self) -> Iterator[int]:
        prefix = f"{self._model}/{ROLLOUT_FOLDER}"
        for found in self._bus.find(prefix):
            revision = revision_of(found.name.removeprefix(f"{prefix}/"))
            if revision is not None:
                yield revision
