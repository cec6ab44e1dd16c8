import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agents.commands.config import command
from agents.configuration.keys import section_of
from agents.settings import Settings

SECRET = "hunter-2-geheim-4711-and-some-more-of-it"  # noqa: S105 - the test looks for it where it must not be


def run(*arguments: str, **environment: str) -> Result:
    """Run `insession config`."""
    return CliRunner().invoke(command, arguments, env={"COLUMNS": "200", **environment})


def test_show_names_the_origin_of_every_value(tmp_path: Path) -> None:
    """Default, file, variable and option are told apart."""
    file = tmp_path / "i.toml"
    file.write_text("[kafka]\ntick_interval = 90\n")
    result = run("show", "--config", str(file), "--prefix", "p-", "--json", INSESSION_KAFKA__GROUP="g")
    rows = {row["key"]: row for row in json.loads(result.output)["settings"]}
    assert rows["kafka.tick_interval"]["value"] == "90s"
    assert rows["kafka.tick_interval"]["origins"] == [{"kind": "file", "name": str(file)}]
    assert rows["kafka.group"]["origins"] == [{"kind": "variable", "name": "INSESSION_KAFKA__GROUP"}]
    assert rows["topics.prefix"]["origins"] == [{"kind": "option", "name": "the command line"}]
    assert rows["kafka.web_port"] == {
        "key": "kafka.web_port",
        "value": 6066,
        "is_secret": False,
        "origins": [{"kind": "default"}],
    }


def test_show_changed_leaves_the_defaults_out() -> None:
    """Only what somebody set is listed, with its value as TOML writes it."""
    result = run("show", "--changed", INSESSION_KAFKA__LINGER="0.005")
    assert "kafka.linger" in result.output
    assert '"5ms"' in result.output
    assert "kafka.group" not in result.output


@pytest.mark.parametrize("arguments", [["show"], ["show", "--json"], ["check"]])
@pytest.mark.parametrize(
    ("security", "unused"),
    [
        ({"MECHANISM": "PLAIN", "USERNAME": "u"}, "client_secret"),
        ({"MECHANISM": "OAUTHBEARER", "OAUTH__TOKEN_URL": "https://login", "OAUTH__CLIENT_ID": "c"}, "password"),
    ],
    ids=["password", "token"],
)
def test_no_secret_is_shown(arguments: list[str], security: dict[str, str], unused: str) -> None:
    """Every secret that there is stays masked."""
    security = {"PROTOCOL": "sasl_plaintext", **security}
    registry = {"INSESSION_REGISTRY__URL": "http://registry:8081", "INSESSION_REGISTRY__USERNAME": "u"}
    keys = [key for section in section_of(Settings).walk() for key in section.keys if key.is_secret]
    left_out = {("kafka", "security", unused), ("kafka", "security", "oauth", unused)}
    # A password of a key needs a certificate.
    secrets = {key.variable: SECRET for key in keys if key.path[-1] != "key_password" and key.path not in left_out}
    result = run(
        *arguments,
        **secrets,
        **registry,
        **{f"INSESSION_KAFKA__SECURITY__{key}": value for key, value in security.items()},
    )
    assert result.exit_code == 0
    assert SECRET not in result.output


def test_check_lists_all_that_is_wrong() -> None:
    """Each problem has a line, and the exit code is that of wrong usage."""
    result = run("check", INSESSION_KAFKA__WEB_PORT="x", INSESSION_TOPICS__REPLICATION="0")
    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 2
    listed = run("check", "--json", INSESSION_KAFKA__WEB_PORT="x", INSESSION_TOPICS__REPLICATION="0")
    assert json.loads(listed.output)["problems"] == result.output.splitlines()


def test_check_names_a_file_that_is_not_there() -> None:
    """It is a problem like any other."""
    result = run("check", "--config", "none.toml", "--json")
    assert result.exit_code == 2
    assert json.loads(result.output)["problems"] == ["settings file none.toml: No such file or directory"]


def test_check_warns_of_what_is_allowed_and_unwise() -> None:
    """The published secret is fine for a trial: exit code 0, and a line that says what to set."""
    result = run("check")
    assert result.exit_code == 0
    assert "warning: clickstream.pseudonym_secret is the published default" in result.output
    assert "The settings are valid." in result.output


@pytest.mark.parametrize("name", ["show", "check", "template", "reference"])
def test_the_help_has_an_example(name: str) -> None:
    """Each command shows how it is used."""
    assert f"Example: insession config {name}" in run(name, "--help").output


@pytest.mark.parametrize(("name", "start"), [("template", "# Settings of insession:"), ("reference", "# Settings\n")])
def test_the_documents_are_printed(name: str, start: str) -> None:
    """They go to the standard output, to be redirected into a file."""
    assert run(name).output.startswith(start)
