"""Every command that a document tells is one that exists, with these options; most are run, see test_walk.py."""

import re
import tomllib
from collections.abc import Callable, Sequence

import click
import pytest

from agents.cli import COMMANDS
from tests import command_lines
from tests.compose.stack import Stack
from tests.docs.documents import ROOT, Block, blocks, documents, inline_code
from tests.docs.shell import commands

TOLD = [block for document in documents() for block in blocks(document) if block.is_shell or not block.info]
"""Blocks to be run, and indented ones, in which a command may stand."""
DOCKER_COMPOSE = {"up": {"--build", "--detach"}, "ps": set(), "run": {"--build", "--rm"}, "down": {"--volumes"}}
"""What docker compose takes, of what we tell (its reference); there is no container engine to ask."""
SHELL = {
    "cd",
    "curl",
    "docker",
    "echo",
    "export",
    "insession",
    "make",
    "mkdir",
    "mv",
    "pip",
    "pytest",
    "python",
    "sleep",
}


def check_insession(arguments: Sequence[str]) -> None:
    """Let the command itself parse the arguments."""
    if "--help" in arguments:
        command_lines.find(arguments)
    else:
        command_lines.parse(arguments)


def check_make(arguments: Sequence[str]) -> None:
    """Find the target in the Makefile."""
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [word for word in arguments if "=" not in word and word not in targets] == []


def check_pip(arguments: Sequence[str]) -> None:
    """Find the extra in pyproject.toml."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert list(arguments) in [["install", "."], *(["install", f".[{extra}]"] for extra in extras)]


def check_docker(arguments: Sequence[str]) -> None:
    """Find the file, the services and the options."""
    compose, file_option, file, verb, *rest = arguments
    assert (compose, file_option) == ("compose", "--file")
    assert (ROOT / file).is_file()
    assert {word for word in rest if word.startswith("-")} <= DOCKER_COMPOSE[verb]
    assert {word for word in rest if not word.startswith("-")} <= set(Stack().services)


CHECKS: dict[str, Callable[[Sequence[str]], None]] = {
    "insession": check_insession,
    "make": check_make,
    "pip": check_pip,
    "docker": check_docker,
}


@pytest.mark.parametrize("block", TOLD, ids=str)
def test_the_commands_of_a_block_exist(block: Block) -> None:
    """Each command with a parser is parsed by it; a block that is there to be run holds known commands only."""
    known = [words for words in _commands(block) if words[0] in SHELL]
    for name, *arguments in known:
        if name in CHECKS:
            CHECKS[name](arguments)
    if block.is_shell:
        assert {words[0] for words in _commands(block)} <= SHELL
        assert known


def _commands(block: Block) -> list[list[str]]:
    """Find the commands; an indented block may be a picture or an output, so only lines that begin with one count."""
    if block.is_shell:
        return list(commands(block.text))
    lines = [line for line in block.text.splitlines() if line.partition(" ")[0] in SHELL]
    return [words for line in lines for words in commands(re.sub(r"\s#.*", "", line))]


@pytest.mark.parametrize("document", documents(), ids=lambda document: str(document.relative_to(ROOT)))
def test_commands_within_a_sentence_exist(document: object) -> None:
    """Of `insession NAME --option` and `make target` in running text, name, option and target exist."""
    for code in inline_code(document):  # type: ignore[arg-type]
        words = code.split()
        if words[0] == "make" and len(words) > 1 and words[1].islower():
            check_make(words[1:2])
        if words[0] == "insession" and len(words) > 1 and words[1][0].isalpha():
            _check_mention(words[1:])


def _check_mention(words: Sequence[str]) -> None:
    """Look up the command and the options; arguments may be left out, or be many in one."""
    assert words[0] in COMMANDS, f"there is no command {words[0]}"
    command = command_lines.find(words)
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.partition("=")[0].rstrip(",.") for word in words if word.startswith("--")}
    assert given - {"--help"} <= options, f"{' '.join(words)}: there are {sorted(options)}"


def test_a_wrong_command_is_noticed() -> None:
    """Options, targets, services and extras that do not exist are found."""
    for name, arguments, error in (
        ("insession", ["worker", "--broker-list", "kafka:9092"], click.UsageError),
        ("make", ["demonstration"], AssertionError),
        ("docker", ["compose", "--file", "compose/compose.yaml", "up", "zookeeper"], AssertionError),
        ("pip", ["install", ".[everything]"], AssertionError),
    ):
        with pytest.raises(error):
            CHECKS[name](arguments)


def test_commands_are_found_in_a_script() -> None:
    """Assignments, loops, pipes, continuations and heredocs do not hide a command."""
    script = """A=1 B="$(c d)" \\
      make x > y
    until curl u; do sleep 1; done
    python - <<'END'
    make no
END
    ls | insession z
    """
    assert list(commands(script)) == [
        ["make", "x"],
        ["curl", "u"],
        ["sleep", "1"],
        ["python", "-"],
        ["ls"],
        ["insession", "z"],
    ]
