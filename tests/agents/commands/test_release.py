"""`insession release`: what is verified, signed and published."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agents.commands.release import command
from schemas.errors import InsessionError, UsageError
from schemas.release_folder import ReleaseError
from schemas.release_signature import SIGNATURE_PATH
from schemas.secret import Secret
from session_model.release.copies import ReleaseCopies, load_release
from tests.builders.releases import edit_manifest, write_release

KEY = "k" * 32


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Write a key."""
    path = tmp_path / "release.key"
    path.write_text(KEY)
    return path


def run(*arguments: str | Path) -> Result:
    """Run the command."""
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_a_whole_release_is_told(tmp_path: Path) -> None:
    """Without a key nobody asks who made it."""
    result = run("verify", write_release(tmp_path))
    assert result.exit_code == 0
    assert "version 3 is whole: " in result.output


def test_a_worker_with_a_key_refuses_what_is_not_signed(tmp_path: Path, key_file: Path) -> None:
    """Signing it is the remedy; the signature is of this key alone and of this manifest alone."""
    directory = write_release(tmp_path)
    worker = ReleaseCopies(tmp_path / "copies", Secret(KEY))
    with pytest.raises(ReleaseError, match=r"is not signed.*`insession release sign"):
        worker.load(directory)
    assert run("sign", directory, "--key-file", key_file).exit_code == 0
    assert run("verify", directory, "--key-file", key_file).exit_code == 0
    assert worker.load(directory).version == 3
    with pytest.raises(ReleaseError, match="signed with another key"):
        load_release(directory, Secret("l" * 32))
    edit_manifest(directory, lambda manifest: manifest.update(code_version="0.2.0"))
    with pytest.raises(ReleaseError, match="its manifest was changed since"):
        worker.load(directory)


def test_an_old_release_gets_its_sizes_when_it_is_signed(tmp_path: Path, key_file: Path) -> None:
    """One made before sizes were kept is as good as a new one then."""
    directory = write_release(tmp_path)
    edit_manifest(directory, lambda manifest: manifest.pop("sizes_bytes"))
    assert run("sign", directory, "--key-file", key_file).exit_code == 0
    assert load_release(directory, Secret(KEY)).manifest.sizes_bytes["saved_model.pb"] == 5


def test_a_damaged_release_is_not_signed(tmp_path: Path, key_file: Path) -> None:
    """A signature says that it is whole, too."""
    directory = write_release(tmp_path)
    (directory / "saved_model.pb").write_bytes(b"xxxxx")
    result = run("sign", directory, "--key-file", key_file)
    assert isinstance(result.exception, ReleaseError)
    assert not (directory / SIGNATURE_PATH).exists()


def test_a_release_is_published_whole(tmp_path: Path, key_file: Path) -> None:
    """With its signature, under its number, and never over another."""
    directory = write_release(tmp_path)
    run("sign", directory, "--key-file", key_file)
    result = run("publish", directory, "--out", tmp_path / "models", "--key-file", key_file)
    published = tmp_path / "models/session_gru/3"
    assert str(published) in result.output
    assert load_release(published, Secret(KEY)).version == 3
    again = run("publish", directory, "--out", tmp_path / "models")
    assert again.exit_code == 0
    edit_manifest(directory, lambda manifest: manifest.update(code_version="0.2.0"))
    other = run("publish", directory, "--out", tmp_path / "models")
    assert isinstance(other.exception, UsageError)
    assert "is there already and differs" in str(other.exception)
    assert load_release(published, Secret(KEY)).manifest.code_version == "0.1.0"


def test_a_release_is_published_under_the_name_that_the_workers_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the same setting, or as the command line says."""
    directory = write_release(tmp_path)
    monkeypatch.setenv("INSESSION_SERVING__MODEL_NAME", "mine")
    for arguments in ([], ["--model-name", "yours"]):
        run("publish", directory, "--out", tmp_path / "models", *arguments)
    assert [path.name for path in sorted((tmp_path / "models").iterdir())] == ["mine", "yours"]


def test_a_release_that_no_worker_takes_is_not_published(tmp_path: Path) -> None:
    """So that it pushes no good one off the server."""
    directory = write_release(tmp_path)
    os.truncate(directory / "assets.extra/vocabulary.json", 3)
    result = run("publish", directory, "--out", tmp_path / "models")
    assert isinstance(result.exception, ReleaseError)
    assert not list(tmp_path.glob("models/session_gru/*"))


def test_what_a_killed_publish_left_is_mended_by_the_next(tmp_path: Path) -> None:
    """Its number is not spent; while one is at work, another is told so, and a training's number is not taken."""
    directory, folder = write_release(tmp_path), tmp_path / "models/session_gru"
    (folder / ".tmp-publish-3" / "variables").mkdir(parents=True)
    with (folder / ".publish.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another command publishes" in str(run("publish", directory, "--out", tmp_path / "models").exception)
    (folder / ".tmp-3").mkdir()
    assert "a training has its number" in str(run("publish", directory, "--out", tmp_path / "models").exception)
    (folder / ".tmp-3").rmdir()
    assert run("publish", directory, "--out", tmp_path / "models").exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == [".publish.lock", "3"]


def test_a_release_goes_over_the_bus(tmp_path: Path) -> None:
    """From a folder that others write to, say, to the one that is watched here."""
    run("publish", write_release(tmp_path / "new"), "--out", f"file:{tmp_path / 'bus'}")
    result = run("fetch", f"file:{tmp_path / 'bus'}", tmp_path / "models", "--json")
    assert json.loads(result.stdout) == {"fetched": [3], "removed": [], "refused": {}}
    assert load_release(tmp_path / "models/session_gru/3").version == 3
    assert "has the newest releases already" in run("fetch", tmp_path / "bus", tmp_path / "models").output


def test_a_refused_release_fails_the_fetch_with_its_reason(tmp_path: Path) -> None:
    """What was fetched beside it stays."""
    for version in (3, 4):
        run("publish", write_release(tmp_path / "new", version), "--out", tmp_path / "bus")
    (tmp_path / "bus/session_gru/4/saved_model.pb").write_bytes(b"xxxxx")
    result = run("fetch", tmp_path / "bus", tmp_path / "models")
    assert isinstance(result.exception, InsessionError)
    assert "refused, and what was served stays: 4: " in str(result.exception)
    assert [path.name for path in (tmp_path / "models/session_gru").iterdir() if path.name.isdecimal()] == ["3"]


def test_follow_looks_again_until_sigterm_and_outlives_a_bus_that_is_away(tmp_path: Path) -> None:
    """It ends with exit code 0."""
    environment = os.environ | {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "known",
        "AWS_SECRET_ACCESS_KEY": "hidden",
    }
    command_line = ["-m", "agents", "release", "fetch", "s3://bus/a", str(tmp_path), "--follow", "--every", "10ms"]
    with subprocess.Popen(
        [sys.executable, *command_line], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        failures = (line for line in process.stdout if "release_fetch_failed" in line)
        told = [next(failures), next(failures)]
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert "nothing is half-written" in rest
    assert "check that it can be reached" in told[1]
    assert "hidden" not in "".join(told) + rest
