"""The Dockerfile, read; its install steps are run by `make wheel`."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from agents.settings import Settings
from tests.compose.stack import FOLDER, ROOT, Stack

DOCKERFILE = FOLDER / "Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")


class Step(NamedTuple):
    """One instruction of a stage."""

    stage: str
    instruction: str
    value: str


def steps() -> list[Step]:
    """Read the instructions, each with the name of its stage."""
    found, stage = [], ""
    for step in DockerfileParser(str(DOCKERFILE)).structure:
        if step["instruction"] == "FROM":
            stage = step["value"].split()[-1]
        if step["instruction"] != "COMMENT":
            found.append(Step(stage, step["instruction"], step["value"]))
    return found


STEPS = steps()
STAGES = [step.stage for step in STEPS if step.instruction == "FROM"]


def of(stage: str, instruction: str) -> list[str]:
    """Return the values of an instruction in a stage and in those that it is made from, the nearest last."""
    base = next(step.value.split()[0] for step in STEPS if step.stage == stage and step.instruction == "FROM")
    inherited = of(base, instruction) if base in STAGES else []
    return inherited + [step.value for step in STEPS if (step.stage, step.instruction) == (stage, instruction)]


def test_hadolint_has_nothing_to_say() -> None:
    """The Dockerfile follows the rules of hadolint, ShellCheck's for its RUN lines among them."""
    run = subprocess.run([HADOLINT, DOCKERFILE], capture_output=True, text=True, check=False)
    assert run.stdout + run.stderr == ""


def test_the_worker_is_what_a_plain_build_makes() -> None:
    """The last stage is the worker's, and the stages that compose.yaml asks for exist."""
    assert STAGES[-1] == "worker"
    assert {service.spec["build"]["target"] for service in Stack().ours} <= set(STAGES)


def test_base_images_are_pinned_to_the_python_of_the_project() -> None:
    """Each base is one exact Python that the project supports."""
    supported = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])
    bases = [step.value.split()[0] for step in STEPS if step.instruction == "FROM"]
    for base in set(bases) - set(STAGES):
        version = re.fullmatch(r"python:(\d+\.\d+\.\d+)(-slim)?-\w+(@sha256:[0-9a-f]{64})?", base)
        assert version is not None, base
        assert version[1] in supported


@pytest.mark.parametrize("stage", ["worker", "trainer", "pipeline"])
def test_nothing_runs_as_root(stage: str) -> None:
    """The process of an image has a numeric user that is not root, which an orchestrator can check."""
    user, group = of(stage, "USER")[-1].split(":")
    assert int(user) > 0
    assert int(group) > 0


def test_what_is_copied_is_there_and_let_in() -> None:
    """Every path that is copied from the context exists, and .dockerignore lets in just these."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {word for step in STEPS if step.instruction == "COPY" for word in shlex.split(step.value)[:-1]}
    from_context = {word for word in copied if not word.startswith(("--", "/"))}
    assert from_context - {"."} <= allowed
    assert [name for name in allowed if not (ROOT / name).exists()] == []
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.rstrip("*") for name in packages} <= allowed, "the wheel is built from what is let in"


def test_the_health_check_asks_the_page_of_the_settings() -> None:
    """The port that is asked, and shown, is the default of the settings; it is Python that asks."""
    port = Settings().kafka.web_port
    options, _, command = of("worker", "HEALTHCHECK")[0].partition("CMD")
    asked = json.loads(command)
    assert asked[:2] == ["python", "-c"]
    assert f"http://127.0.0.1:{port}/healthz" in asked[2]
    assert "--start-period" in options
    assert of("worker", "EXPOSE") == [str(port)]


def test_a_stop_is_one_that_the_worker_understands() -> None:
    """The engine sends SIGTERM, straight to the worker: no shell stands between."""
    assert of("worker", "STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(of("worker", "ENTRYPOINT")[-1]) == ["insession"]
    assert json.loads(of("worker", "CMD")[-1]) == ["worker"]


def test_the_state_has_a_folder_that_the_user_owns() -> None:
    """The datadir of the workers is made in the image, so that a new volume is the user's."""
    datadirs = {worker.environment["INSESSION_KAFKA__DATADIR"] for worker in Stack().workers}
    made = " ".join(of("worker", "RUN"))
    assert all(f"--owner=insession --group=insession {datadir}" in made for datadir in datadirs)


@pytest.mark.parametrize("stage", ["wheel", "worker-environment", "trainer-environment", "pipeline-environment"])
def test_everything_is_installed_by_hash(stage: str) -> None:
    """What is installed is pinned by hash, or the wheel that was just built."""
    installs = [line for run in of(stage, "RUN") for line in run.split("&&") if "pip install" in line]
    assert installs
    assert all("--require-hashes" in line or "--no-deps /dist/" in line for line in installs)


@pytest.mark.parametrize("name", ["worker", "model", "pipeline", "build"])
def test_what_is_installed_is_what_the_tests_ran_with(name: str) -> None:
    """Every version in a lock file of an image is that of the development environment's lock file."""
    everything = pins("all")
    assert {package: version for package, version in pins(name).items() if everything.get(package) != version} == {}


def test_a_worker_has_no_tensorflow() -> None:
    """The worker's image installs neither TensorFlow nor Keras; the trainer's does."""
    assert not {"tensorflow", "keras", "tensorflow-serving-api"} & set(pins("worker"))
    assert {"tensorflow", "keras"} <= set(pins("model"))


def pins(name: str) -> dict[str, str]:
    """Read the versions of a lock file, by package."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    found = [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalnum()]
    return {requirement.name: str(requirement.specifier) for requirement in found}
