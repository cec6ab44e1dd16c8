"""The commands that run on Spark, where they cannot, and what they do without it."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from agents.batch.features_job import packaged_queries
from agents.commands.features import command as features
from agents.commands.infer import command as infer
from agents.commands.sessions import command as sessions
from agents.commands.spark_options import parse_conf
from schemas.errors import UsageError
from streams.local.java import JavaUnavailableError

ROOT = Path(__file__).parents[3]


def test_without_java_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is written."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    (tmp_path / "log.jsonl").write_text("")
    arguments = [str(tmp_path / "log.jsonl"), "--format", "jsonl", "--out", str(tmp_path / "out")]
    ended = CliRunner().invoke(sessions, arguments)
    assert isinstance(ended.exception, JavaUnavailableError)
    assert "Spark needs Java 17 or newer and there is no `java` in JAVA_HOME" in str(ended.exception)
    assert not (tmp_path / "out").exists()


def test_without_pyspark_the_message_names_the_extra(tmp_path: Path) -> None:
    """A person reads one line and exit code 2."""
    program = "import sys; sys.modules['pyspark'] = None; from agents.cli import main; main()"
    (tmp_path / "log.jsonl").write_text("")
    arguments = ["sessions", tmp_path / "log.jsonl", "--format", "jsonl", "--out", tmp_path / "out"]
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].endswith("pip install 'insession[spark]'")


def test_a_topic_that_the_settings_do_not_have_is_wrong_usage(tmp_path: Path) -> None:
    """Its mapping would be a guess."""
    (tmp_path / "log.jsonl").write_text("")
    arguments = [str(tmp_path / "log.jsonl"), "--out", str(tmp_path / "out"), "--topic", "shop.orders"]
    ended = CliRunner().invoke(sessions, arguments)
    assert isinstance(ended.exception, UsageError)
    assert "--topic shop.orders: the clickstreams of the settings are clickstream" in str(ended.exception)


def test_what_is_copied_here_is_not_where_the_tasks_of_a_cluster_are(tmp_path: Path) -> None:
    """It is said before anything is copied or Spark is asked."""
    arguments = ["s3://bus/sessions", "--release", "models:/session_gru@champion", "--out", str(tmp_path / "out")]
    ended = CliRunner().invoke(infer, [*arguments, "--master", "spark://host:7077"])
    assert isinstance(ended.exception, UsageError)
    assert "SESSIONS, --release would be copied to this machine" in str(ended.exception)


def test_the_queries_are_copied_for_an_analyst_and_never_over_their_own(tmp_path: Path) -> None:
    """Each query is a file that can be read and changed."""
    arguments = ["--write-sql", str(tmp_path / "sql")]
    assert CliRunner().invoke(features, arguments).exit_code == 0
    found = {path.stem: path.read_text() for path in (tmp_path / "sql").iterdir()}
    assert found == packaged_queries()
    assert isinstance(CliRunner().invoke(features, arguments).exception, UsageError)
    assert isinstance(CliRunner().invoke(features, []).exception, UsageError)


def test_a_configuration_of_spark_is_a_name_and_a_value() -> None:
    """The value may have an equals sign."""
    assert parse_conf(["spark.executor.memory=4g", "a = b=c"]) == {"spark.executor.memory": "4g", "a": "b=c"}
    with pytest.raises(UsageError, match="write NAME=VALUE"):
        parse_conf(["spark.executor.memory"])
