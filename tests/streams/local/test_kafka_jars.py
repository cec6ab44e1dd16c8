from pathlib import Path

import pytest

from streams.local.kafka_jars import POM, KafkaUnavailableError, fetch, find_java


def put_on_path(monkeypatch: pytest.MonkeyPatch, folder: Path, program: str, script: str) -> None:
    """Make `program` a shell script, and the only program on PATH beside those of /bin."""
    path = folder / program
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize("version", ["17.0.15", "21", "25-ea"])
def test_java_17_and_newer_are_taken(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The banner's major version decides."""
    put_on_path(monkeypatch, tmp_path, "java", f"echo 'openjdk version \"{version}\"' >&2")
    assert find_java() == str(tmp_path / "java")


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.2", "16.0.1"])
def test_an_older_java_is_refused_with_its_version(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says what was found and what to install."""
    put_on_path(monkeypatch, tmp_path, "java", f"echo 'openjdk version \"{version}\"' >&2")
    with pytest.raises(KafkaUnavailableError, match=rf"Java 17 or newer; .*{version}.*apt-get install"):
        find_java()


def test_missing_tools_are_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Java or Maven the message says how to get both."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KafkaUnavailableError, match=r"no `java`.*apt-get install openjdk-17-jdk-headless maven"):
        find_java()
    with pytest.raises(KafkaUnavailableError, match=r"no `mvn`.*apt-get install openjdk-17-jdk-headless maven"):
        fetch(tmp_path / "cache")


def test_a_failed_fetch_leaves_no_half_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maven's own words are in the message, and the next start tries again."""
    put_on_path(monkeypatch, tmp_path, "mvn", "echo '[ERROR] no route to the repository'; exit 1")
    with pytest.raises(KafkaUnavailableError, match="no route to the repository"):
        fetch(tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_the_jars_are_fetched_once_for_a_pom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start reads the folder without Maven; another pin is another folder."""
    put_on_path(monkeypatch, tmp_path, "mvn", 'for last; do :; done; /bin/mkdir -p "${last#-DoutputDirectory=}"')
    libs = fetch(tmp_path / "cache")
    monkeypatch.setenv("PATH", "")
    assert fetch(tmp_path / "cache") == libs
    changed = tmp_path / "pom.xml"
    changed.write_bytes(POM.read_bytes() + b"\n")
    with pytest.raises(KafkaUnavailableError):
        fetch(tmp_path / "cache", changed)
