# ruff: noqa: INP001 - a script beside the package
"""Run a stage of a Dockerfile without a container engine: its very RUN lines, in a folder that stands for the root.

    python .ci/run_stage.py compose/Dockerfile worker-environment FOLDER

The base image is this machine: `python` is that of PATH. Absolute paths in RUN, WORKDIR and COPY lie in FOLDER; a stage
that another one builds on, or copies from, runs first. This is for stages that install; one that changes users is not.
"""

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from dockerfile_parse import DockerfileParser

_ABSOLUTE = re.compile(r"(^|[\s=])/(?=\w)")


class Stages:
    """The stages of a Dockerfile whose build context is the working directory."""

    def __init__(self, dockerfile: Path, root: Path) -> None:
        self._root = root.resolve()
        self._steps: dict[str, list[tuple[str, str]]] = {}
        self._done: set[str] = set()
        name = ""
        for step in DockerfileParser(str(dockerfile)).structure:
            instruction, value = step["instruction"], step["value"]
            if instruction == "FROM":
                name = value.split()[-1]
            if instruction != "COMMENT":
                self._steps.setdefault(name, []).append((instruction, value))

    def run(self, name: str) -> tuple[Path, dict[str, str]]:
        """Run a stage, if that has not happened; give its working directory and environment."""
        folder, environment = self._root, dict(os.environ)
        is_done = name in self._done
        self._done.add(name)
        for instruction, value in self._steps[name]:
            if instruction == "FROM" and (base := value.split()[0]) in self._steps:
                folder, environment = self.run(base)
            elif instruction == "ENV":
                environment |= dict(pair.split("=", 1) for pair in shlex.split(value))
            elif instruction == "WORKDIR":
                folder = self._inside(value)
            elif instruction == "COPY" and not is_done:
                self._copy(shlex.split(value), folder)
            elif instruction == "RUN" and not is_done:
                folder.mkdir(parents=True, exist_ok=True)
                line = _ABSOLUTE.sub(rf"\1{self._root}/", value)
                print(f"{name}: {line}", flush=True)  # noqa: T201 - what CI shows
                subprocess.run(["/bin/sh", "-ec", line], cwd=folder, env=environment, check=True)  # noqa: S603 - our own
        return folder, environment

    def _copy(self, words: list[str], folder: Path) -> None:
        if words[0].startswith("--from="):
            self.run(words[0].removeprefix("--from="))
            assert words[1] == words[2], "stages share the folder here: copy to the path that it has"
            return
        source, target = Path(words[0]), folder / words[1]
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=_ignored_by_docker(Path.cwd()))

    def _inside(self, path: str) -> Path:
        return self._root / path.removeprefix("/")


def _ignored_by_docker(context: Path) -> Callable[[str, list[str]], list[str]]:
    """Ignore what .dockerignore keeps out; it names the top-level paths that are let in, and patterns that are not."""
    lines = (context / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    everywhere = [line.removeprefix("**/") for line in lines if line.startswith("**/")]

    def ignored(folder: str, names: list[str]) -> list[str]:
        is_top = Path(folder).resolve() == context
        kept_out = {name for pattern in everywhere for name in fnmatch.filter(names, pattern)}
        return [name for name in names if name in kept_out or (is_top and name not in allowed)]

    return ignored


if __name__ == "__main__":
    Stages(Path(sys.argv[1]), Path(sys.argv[3])).run(sys.argv[2])
