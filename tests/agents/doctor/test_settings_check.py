from pathlib import Path

from agents.doctor.findings import Level
from agents.doctor.settings_check import settings_findings
from agents.settings import read_settings


def test_valid_settings_tell_who_gave_them(tmp_path: Path) -> None:
    """Counted by file, environment and command line; what is unwise is a warning with its remedy."""
    file = tmp_path / "insession.toml"
    file.write_text("[topics]\npartitions = 4\nreplication = 1\nmin_insync_replicas = 1\n")
    given = {"kafka": {"brokers": "b:1"}}
    reading = read_settings(given, file=file, environment={"INSESSION_KAFKA__GROUP": "g"})
    valid, secret = settings_findings(reading)
    assert (valid.level, valid.message) == (
        Level.OK,
        "valid; 3 by the file, 1 by the environment, 1 by the command line",
    )
    assert (secret.level, "PSEUDONYM_SECRET" in secret.remedy) == (Level.WARNING, True)


def test_a_secret_of_ones_own_is_no_warning() -> None:
    """Nothing is left to say."""
    environment = {"INSESSION_CLICKSTREAM__PSEUDONYM_SECRET": "long and at random"}
    (valid,) = settings_findings(read_settings(environment=environment))
    assert valid.level is Level.OK


def test_every_wrong_setting_is_an_error() -> None:
    """Each names its key and who gave it."""
    found = list(settings_findings(read_settings(environment={"INSESSION_KAFKA__WEB_PORT": "x", "INSESSION_A__B": ""})))
    assert [one.level for one in found] == [Level.ERROR] * 2
    assert "INSESSION_KAFKA__WEB_PORT" in "".join(one.message for one in found)
