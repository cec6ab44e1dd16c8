"""A program: fetches a release again and again, each time killed by SIGKILL at the next thing that it does to the disk.

Its argument is an empty folder. What it writes last is at how many places it was killed.
"""

import multiprocessing
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any, Final

from click.testing import CliRunner

from agents.commands.release import fetch
from session_model.release.copies import load_release
from tests.builders.releases import write_release

MODEL: Final = "session_gru"
CHAMPION: Final = 4
_CHANGES: Final = frozenset({"os.mkdir", "os.rename", "os.remove", "os.rmdir"})
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _fetch(bus: Path, models: Path, kill_at: int | None) -> None:
    """Fetch in a process of its own, which ends at its `kill_at`-th change below the models folder."""
    left = kill_at

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if left is None or not (event in _CHANGES or (event == "open" and (arguments[2] or 0) & _WRITES)):
            return
        if str(arguments[0]).startswith(str(models)):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    result = CliRunner().invoke(fetch, [f"file:{bus}", str(models), "--keep", "2"])
    sys.exit(result.exit_code)


def _run(bus: Path, models: Path, kill_at: int | None) -> int:
    process = multiprocessing.get_context("fork").Process(target=_fetch, args=(bus, models, kill_at))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _versions(models: Path) -> list[int]:
    """Give what a model server sees, after a look at whether each is whole."""
    found = [path for path in (models / MODEL).iterdir() if path.name.isdecimal()]
    return sorted(load_release(path).version for path in found)


def main(folder: Path) -> None:
    """Kill the fetch of version 5, which takes 3 away, everywhere; 4 is served all the time."""
    bus, before = folder / "bus", folder / "before"
    for version in (3, CHAMPION):
        write_release(before, version)
    for version in (3, CHAMPION, 5):
        write_release(bus, version)
    place = 0
    while True:
        models = folder / f"models-{place}"
        shutil.copytree(before, models)
        exit_code = _run(bus, models, place)
        assert exit_code in (0, -signal.SIGKILL), exit_code
        assert CHAMPION in _versions(models)
        assert _run(bus, models, None) == 0
        assert _versions(models) == [CHAMPION, 5]
        assert [path.name for path in (models / MODEL).glob(".tmp*")] == []
        if exit_code == 0:
            break
        place += 1
    sys.stdout.write(f"{place}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
