import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "pin_images.py"
COMPOSE = "services:\n  kafka:\n    image: apache/kafka:4.1.1 # as the tests\n  worker:\n    image: insession:local\n"
DOCKERFILE = "FROM python:3.11.14-slim AS base\nFROM base AS run\n"
DOCKER = """#!{python}
import hashlib, sys
image = sys.argv[-1]
if image in {unknown!r}:
    sys.exit("no such host")
print("sha256:" + hashlib.sha256((image + {day!r}).encode()).hexdigest())
"""


class Pinning:
    """The script, with a docker that knows what the test says, and two files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.compose, self.dockerfile = folder / "compose.yaml", folder / "Dockerfile"
        self.compose.write_text(COMPOSE)
        self.dockerfile.write_text(DOCKERFILE)

    def run(self, day: str = "", unknown: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        """Pin both files. day: images have other digests on another one."""
        docker = self._folder / "docker"
        docker.write_text(DOCKER.format(python=sys.executable, unknown=unknown, day=day))
        docker.chmod(0o755)
        environment = {**os.environ, "PATH": f"{self._folder}:{os.environ['PATH']}"}
        command = [sys.executable, SCRIPT, self.compose, self.dockerfile]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def pinning(tmp_path: Path) -> Pinning:
    """Make the files."""
    return Pinning(tmp_path)


def digest(image: str, day: str = "") -> str:
    """Return what the docker of the test says."""
    return "sha256:" + hashlib.sha256((image + day).encode()).hexdigest()


@pytest.mark.parametrize("day", ["", "another day"])
def test_images_of_others_get_the_digest_of_today(pinning: Pinning, day: str) -> None:
    """Beside their tags; our own, stages and comments stay, and an older digest goes."""
    assert pinning.run().returncode == 0
    assert pinning.run(day).returncode == 0
    kafka, python = (f"{name}@{digest(name, day)}" for name in ("apache/kafka:4.1.1", "python:3.11.14-slim"))
    assert pinning.compose.read_text() == COMPOSE.replace("apache/kafka:4.1.1", kafka)
    assert pinning.dockerfile.read_text() == DOCKERFILE.replace("python:3.11.14-slim", python)


def test_nothing_is_half_pinned(pinning: Pinning) -> None:
    """Where one image cannot be asked for, it is named, with why, and no file changes."""
    result = pinning.run(unknown=("python:3.11.14-slim",))
    assert result.returncode == 1
    assert "no digest of python:3.11.14-slim" in result.stderr
    assert "no such host" in result.stderr
    assert (pinning.compose.read_text(), pinning.dockerfile.read_text()) == (COMPOSE, DOCKERFILE)
