"""Steps of a long computation that are done once: a process that goes on after another one reads their results back."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

_Result = TypeVar("_Result")


class _Line(msgspec.Struct):
    key: str
    result: msgspec.Raw


class Journal:
    """Results by key, a JSON line each; the last line of a process that was killed may be torn and is dropped.

    path: None keeps them in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._results: dict[str, msgspec.Raw] = {}
        if path is not None and path.exists():
            self._read(path)

    def __len__(self) -> int:
        """Count the results."""
        return len(self._results)

    def once(self, key: str, kind: type[_Result], make: Callable[[], _Result]) -> _Result:
        """Return the result that is noted under `key`; make it and note it where none is, or none of this kind."""
        if key in self._results:
            try:
                return msgspec.json.decode(self._results[key], type=kind)
            except msgspec.DecodeError:  # an older one of another shape: as good as none
                pass
        result = make()
        self.note(key, result)
        return result

    def __contains__(self, key: str) -> bool:
        """Return whether a result is noted under `key`."""
        return key in self._results

    def note(self, key: str, result: object) -> None:
        """Note `result` under `key`, instead of what was noted before."""
        self._results[key] = msgspec.Raw(msgspec.json.encode(result))
        if self._path is not None:
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode(_Line(key, self._results[key])) + b"\n")
                file.flush()
                os.fsync(file.fileno())

    def _read(self, path: Path) -> None:
        whole = 0
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                noted = msgspec.json.decode(line, type=_Line)
            except msgspec.DecodeError:
                break
            if not line.endswith(b"\n"):
                break
            self._results[noted.key] = msgspec.Raw(bytes(noted.result))
            whole += len(line)
        os.truncate(path, whole)
