import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from agents.commands.connection import Connection
from agents.commands.worker import _by_section, command

IMPATIENT = (
    "import streams.cluster.topics; streams.cluster.topics._TIMEOUT_SECONDS = 0.3; from agents.cli import main; main()"
)


def run(
    folder: Path, *arguments: str, first_on_path: Path | None = None, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run `insession worker` with short timeouts."""
    path = [str(folder) for folder in (first_on_path, Path(__file__).parents[3]) if folder is not None]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("INSESSION_")}
    return subprocess.run(
        [sys.executable, "-c", IMPATIENT, "worker", "--datadir", folder / "data", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env=inherited | {"PYTHONPATH": os.pathsep.join(path)} | environment,
    )


def test_brokers_that_do_not_answer_are_one_line(tmp_path: Path) -> None:
    """The worker ends with exit code 1 and a line that says what to check; there is no traceback."""
    ended = run(tmp_path, "--brokers", "127.0.0.1:1")
    *logged, message = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert message.startswith("insession: The brokers did not answer: ")
    assert "Check the address" in message
    assert "Traceback" not in ended.stderr + ended.stdout
    assert [json.loads(line)["event"] for line in logged][-1] == "aborted"


def test_a_client_that_cannot_decompress_is_one_line(tmp_path: Path) -> None:
    """Before the worker meets the first such batch: which codecs, and which package is missing."""
    (tmp_path / "cramjam.py").write_text("raise ImportError")
    ended = run(tmp_path, "--brokers", "127.0.0.1:1", first_on_path=tmp_path)
    assert ended.returncode == 1
    message = ended.stderr.splitlines()[-1]
    assert message.startswith("insession: the Kafka client cannot read topics compressed with snappy, lz4, zstd: ")
    assert "cramjam" in message
    assert "Traceback" not in ended.stderr + ended.stdout


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"INSESSION_KAFKA__BROKER": "x"}, "insession: INSESSION_KAFKA__BROKER: no setting kafka.broker;"),
        ({"INSESSION_CONFIG": "none.toml"}, "insession: settings file none.toml: No such file or directory"),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path: Path, environment: dict[str, str], message: str) -> None:
    """A typo is wrong usage, exit code 2, before anything is started."""
    ended = run(tmp_path, **environment)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(message)


@pytest.mark.parametrize(
    "arguments", [["--web-port", "70000"], ["--web-port", "0"], ["--partitions", "0"], ["--nonsense"]]
)
def test_a_wrong_option_is_wrong_usage(arguments: list[str]) -> None:
    """What click can refuse never reaches the settings."""
    assert CliRunner().invoke(command, arguments).exit_code == 2


def test_options_are_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each option lands in its section; what is not given is left to file and environment."""
    monkeypatch.setenv("INSESSION_KAFKA__GROUP", "g")
    connection = Connection(options={"kafka": {"brokers": "b:1"}, "topics": {"prefix": "p."}})
    settings = connection.settings(
        _by_section(serving="s:2", models=Path("m"), partitions=3, replication=None, datadir=tmp_path, web_port=6070)
    )
    assert (settings.kafka.brokers, settings.kafka.web_port, settings.kafka.datadir) == ("b:1", 6070, tmp_path)
    assert (settings.serving.address, settings.serving.models_directory) == ("s:2", Path("m"))
    assert (settings.topics.prefix, settings.topics.partitions, settings.kafka.group) == ("p.", 3, "g")
