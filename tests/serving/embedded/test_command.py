import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from schemas.errors import InsessionError, UsageError
from serving.embedded import command as command_module
from serving.embedded.command import command
from serving.embedded.options import ServerOptions
from serving.embedded.policies import AllVersions, LatestVersions, SpecificVersions, VersionPolicy


@pytest.fixture
def given_options(monkeypatch: pytest.MonkeyPatch) -> list[ServerOptions]:
    """Collect the options that would be served."""
    given: list[ServerOptions] = []
    monkeypatch.setattr(command_module, "serve", lambda options, _stopping: given.append(options))
    monkeypatch.setattr(command_module, "Stopping", object)
    monkeypatch.setattr("structlog.configure", lambda **_: None)
    return given


@pytest.mark.parametrize("policy", [LatestVersions(3), AllVersions(), SpecificVersions(frozenset({4, 7}))])
def test_options_survive_the_command_line(given_options: list[ServerOptions], policy: VersionPolicy) -> None:
    """What `arguments` spells, the command reads back, whatever the policy."""
    options = ServerOptions(
        models=Path("models"),
        model_name="rec",
        host="::1",
        port=0,
        policy=policy,
        poll_seconds=0.5,
        op_threads=1,
        max_concurrent_calls=9,
    )
    result = CliRunner().invoke(command, options.arguments(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert given_options == [options]


def test_the_defaults_agree(given_options: list[ServerOptions]) -> None:
    """The command's defaults are the options' own."""
    CliRunner().invoke(command, ["--models", "models"], catch_exceptions=False)
    assert given_options == [ServerOptions(models=Path("models"))]


def test_policies_exclude_each_other() -> None:
    """All versions and just one cannot both be asked for."""
    with pytest.raises(UsageError, match="exclude each other"):
        CliRunner().invoke(command, ["--models", "m", "--all-versions", "--version", "1"], catch_exceptions=False)


def test_models_are_required() -> None:
    """Without a folder the usage is wrong: exit code 2."""
    assert CliRunner().invoke(command, []).exit_code == 2


def test_without_tensorflow_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A missing extra is no traceback but a command to run."""
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for name in [name for name in sys.modules if name.startswith("serving.embedded.s")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InsessionError, match=r"pip install 'insession\[model\]'"):
        command_module.serve(ServerOptions(models=tmp_path), command_module.Stopping)  # type: ignore[arg-type]


def test_insession_serve_is_this_command() -> None:
    """The command line's group finds the server's command."""
    from agents.cli import insession

    assert insession.get_command(click.Context(insession), "serve") is command
