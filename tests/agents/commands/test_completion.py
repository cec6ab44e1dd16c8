import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from agents.cli import COMMANDS, insession
from agents.commands.completion import SHELLS


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_its_script(shell: str) -> None:
    """The script asks the command itself, by click's variable."""
    result = CliRunner().invoke(insession, ["completion", shell], prog_name="insession")
    assert result.exit_code == 0, result.output
    assert f"_INSESSION_COMPLETE={shell}_complete" in result.output


@pytest.mark.parametrize(("words", "expected"), [("insession ", set(COMMANDS)), ("insession topics ", {"create"})])
def test_commands_that_are_imported_when_asked_for_are_completed(words: str, expected: set[str]) -> None:
    """The lazy group tells its commands, and theirs, to the shell."""
    asked = {"_INSESSION_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    found = subprocess.run(
        [sys.executable, "-m", "agents"], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    assert found.stderr == ""
    assert expected <= {line.removeprefix("plain,") for line in found.stdout.splitlines()}


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_script_is_good_bash() -> None:
    """Bash reads it without complaint."""
    script = CliRunner().invoke(insession, ["completion", "bash"], prog_name="insession").output
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
