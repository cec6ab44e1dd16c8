"""`insession train kafka://…`, from the records of a topic to the manifest of a release."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agents.cli import insession
from schemas import wire
from schemas.errors import InsessionError, UsageError
from schemas.ids import ItemId
from schemas.records import CatalogItem
from schemas.release import ReadPartition
from session_model.release.copies import load_release
from streams.local.embedded_broker import EmbeddedBroker
from streams.records import OutputRecord
from streams.tools.sender import Sender
from tests.session_ends import START_MS, session_end

N_SESSIONS = 60


@pytest.fixture
def address() -> Iterator[str]:
    """Run a broker with 60 session ends on one partition of `session-ends`, every tenth of a bot."""
    with EmbeddedBroker() as broker:
        send(broker.address, range(N_SESSIONS))
        yield broker.address


def send(address: str, numbers: range) -> None:
    """Write session ends."""
    sender = Sender({"bootstrap.servers": address}, client_id="test")
    for number in numbers:
        value = wire.encode(session_end(number, is_bot=number % 10 == 9))
        sender.send(OutputRecord("session-ends", b"k", value, partition=1), time_ms=START_MS + number * 1000)
    sender.flush()


def invoke(*arguments: str) -> Result:
    """Run a command to a good end."""
    result = CliRunner().invoke(insession, arguments)
    assert result.exit_code == 0, result.output
    return result


def test_a_topic_becomes_a_release_that_says_what_was_read(address: str, tmp_path: Path) -> None:
    """Without --format: offsets and watermark stand in the manifest, bots are not learned from, no copy is left.

    The catalog is that of its topic. Published on a Bus, it is evaluated from there on another part of the topic.
    """
    url = f"kafka://{address}/session-ends?from=1:10"
    sender = Sender({"bootstrap.servers": address}, client_id="test")
    for number in range(8):
        item = CatalogItem(item_id=ItemId(f"i{number}"), category=f"c{number % 2}")
        sender.send(OutputRecord("catalog", item.item_id.encode(), wire.encode(item)))
    sender.flush()
    catalog = f"kafka://{address}/catalog"
    trained = invoke(
        "train", url, "--catalog", catalog, "--out", str(tmp_path), "--preset", "small", "--epochs", "1", "--json"
    )
    summary = json.loads(trained.stdout)
    release = load_release(Path(summary["directory"]))
    assert set(release.parts.categories.names) == {"c0", "c1"}
    source = release.manifest.training_source
    assert source is not None
    newest = session_end(59)
    assert source.partitions[1] == ReadPartition(first=10, stop=60, records=50, newest_ms=newest.events[-1].time_ms)
    assert (source.url, source.watermark, source.malformed) == (url, newest.ended_at, 0)
    assert release.manifest.training_data_until == session_end(58).ended_at, "the last one of no bot"
    assert summary["training_source"]["partitions"]["1"]["stop"] == 60
    assert [path.name for path in (tmp_path / ".data").iterdir() if path.is_dir()] == []

    invoke("release", "publish", summary["directory"], "--out", "memory:releases")
    evaluated = invoke("evaluate", "memory:releases", f"kafka://{address}/session-ends?from=1:40", "--json")
    assert json.loads(evaluated.stdout)["sessions"] == 18


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_after_a_kill_the_same_command_goes_on_though_the_topic_has_grown(address: str, tmp_path: Path) -> None:
    """It learns from what it had read; the next training reads the rest."""
    command = ["train", f"kafka://{address}/session-ends", "--out", str(tmp_path), "--preset", "small", "--epochs", "2"]
    with subprocess.Popen([sys.executable, "-m", "agents", *command], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(line.startswith("epoch 1:") for line in process.stderr)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    send(address, range(N_SESSIONS, N_SESSIONS + 10))
    stops = []
    for _ in range(2):
        result = CliRunner().invoke(insession, [*command, "--json"])
        assert result.exit_code == 0, result.output
        assert ("goes on with run 1" in result.output) == (not stops)
        stops.append(json.loads(result.stdout)["training_source"]["partitions"]["1"]["stop"])
    assert stops == [N_SESSIONS, N_SESSIONS + 10]


def test_a_training_that_reads_nothing_publishes_nothing(address: str, tmp_path: Path) -> None:
    """The message names the topic and what to check."""
    url = f"kafka://{address}/session-ends?from=end"
    result = CliRunner().invoke(insession, ["train", url, "--out", str(tmp_path)])
    assert isinstance(result.exception, InsessionError)
    assert "session-ends holds no record there; check from and to" in str(result.exception)
    assert not (tmp_path / "session_gru").exists()


@pytest.mark.parametrize(
    ("data", "said"),
    [("kafka://a:1/t?since=1", "behind [?] stand from and to"), ("ftp://a/b", "is none of")],
)
def test_a_wrong_url_is_wrong_usage(data: str, said: str, tmp_path: Path) -> None:
    """It is told before anything is read."""
    with pytest.raises(UsageError, match=said):
        CliRunner().invoke(insession, ["train", data, "--out", str(tmp_path)], catch_exceptions=False)


def test_files_elsewhere_need_a_format(tmp_path: Path) -> None:
    """Only of a topic it is known."""
    result = CliRunner().invoke(insession, ["train", "s3://bucket/x", "--out", str(tmp_path)])
    assert (result.exit_code, "Missing option '--format'" in result.output) == (2, True)
