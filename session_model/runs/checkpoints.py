"""What an interrupted training goes on from: arrays and a little JSON in one `.npz`, there as a whole or not at all."""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import msgspec
import numpy as np
from numpy.typing import NDArray

from session_model.files import write_whole

_STATE = "state"
_UNREADABLE = (OSError, EOFError, KeyError, ValueError, BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State that JSON can say, integers of any size among it, and lists of arrays by name."""

    state: dict[str, Any]
    arrays: Mapping[str, Sequence[NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """The checkpoint of one training: its name is the fingerprint of all that the training depends on."""

    folder: Path
    fingerprint: str

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.folder / f"{self.fingerprint[:16]}.npz"

    def save(self, checkpoint: Checkpoint) -> None:
        """Take the place of the one before."""
        state = json.dumps(checkpoint.state | {"fingerprint": self.fingerprint}).encode()
        entries: dict[str, Any] = {_STATE: np.frombuffer(state, np.uint8)}
        for name, arrays in checkpoint.arrays.items():
            entries |= {f"{name}.{place}": array for place, array in enumerate(arrays)}
        write_whole(self.path, lambda file: np.savez(file, **entries))

    def load(self) -> tuple[Checkpoint | None, str | None]:
        """Read it; where it cannot be used, None and why, and where there is none, None twice."""
        if not self.path.exists():
            return None, None
        try:
            with self.path.open("rb") as opened, np.load(opened) as file:
                state = json.loads(file[_STATE].tobytes())
                if state["fingerprint"] != self.fingerprint:
                    return None, f"checkpoint {self.path} is of another training"
                return Checkpoint(state, _grouped({name: file[name] for name in file.files if name != _STATE})), None
        except _UNREADABLE as error:
            return None, f"checkpoint {self.path} cannot be read ({error})"


def _grouped(arrays: Mapping[str, NDArray[Any]]) -> dict[str, list[NDArray[Any]]]:
    groups = dict[str, list[NDArray[Any]]]()
    for key, array in arrays.items():  # in the order in which they were saved
        groups.setdefault(key.partition(".")[0], []).append(array)
    return groups


def fingerprint(settings: Sequence[Any], arrays: Sequence[NDArray[Any]]) -> str:
    """Hash settings that msgspec can encode, and arrays with their shapes and types."""
    digest = hashlib.sha256(msgspec.json.encode(settings))
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
