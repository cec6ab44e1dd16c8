from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from agents.configuration.keys import section_of
from agents.configuration.reading import Reading
from agents.settings import Settings, read_settings
from schemas.errors import UsageError

SECRET = "hunter-2-geheim-7"  # noqa: S105 - the test looks for it where it must not be


def reading_of(tmp_path: Path, toml: str = "", environment: Mapping[str, str] | None = None) -> Reading[Settings]:
    """Read a file and an environment."""
    file = tmp_path / "insession.toml"
    file.write_text(toml)
    return read_settings(file=file, environment=environment or {})


def origins_of(reading: Reading[Settings]) -> dict[str, list[str]]:
    """Return who gave what."""
    return {name: [str(origin) for origin in origins] for name, origins in reading.origins.items()}


def test_every_problem_is_found_in_one_go(tmp_path: Path) -> None:
    """Typos, wrong types and contradictions of different sections are all listed, each with who gave it."""
    toml = '[kafka]\nbroker = 1\nweb_port = "x"\n[serving]\naddress = "nowhere"\n'
    reading = reading_of(tmp_path, toml, {"INSESSION_TOPICS__PARTITIONS": "0"})
    assert reading.settings is None
    typo, wrong_type, partitions, address = reading.problems
    assert "no setting kafka.broker" in typo
    assert wrong_type == f"{tmp_path}/insession.toml: kafka.web_port: must be a whole number, found 'x'"
    assert partitions.endswith("(set: topics.partitions by INSESSION_TOPICS__PARTITIONS)")
    assert address.endswith(f"(set: serving.address by {tmp_path}/insession.toml)")
    with pytest.raises(UsageError, match=r"^4 settings are wrong:\n  .*no setting kafka.broker"):
        reading.valid()


def test_a_contradiction_names_who_gave_each_side(tmp_path: Path) -> None:
    """The key that somebody set is told from the one that has its default."""
    reading = reading_of(tmp_path, "[kafka]\nsend_timeout = 200\n")
    (problem,) = reading.problems
    assert problem.endswith(f"(set: kafka.send_timeout by {tmp_path}/insession.toml)")


def test_a_table_may_be_given_in_parts(tmp_path: Path) -> None:
    """File and environment each add entries, and both are named."""
    variable = "INSESSION_CLICKSTREAM__MAPPING__PATHS__ITEM_ID"
    toml = '[clickstream.mapping.paths]\nvisitor_id = "user.id"\nitem_id = "file"\n'
    reading = reading_of(tmp_path, toml, {variable: "sku"})
    assert reading.valid().clickstream.mapping.paths == {"visitor_id": "user.id", "item_id": "sku"}
    assert origins_of(reading) == {"clickstream.mapping.paths": [f"{tmp_path}/insession.toml", variable]}


@pytest.mark.parametrize(
    ("toml", "environment", "message"),
    [
        ('[clickstream.mapping.values]\nlocation = "x"', {"_LOCATION__A": "b"}, "inside a value that is no table"),
        ("", {"": "x", "_LOCATION__A": "b"}, "must be a table, found 'x'"),
        ("", {"_LOCATION": "x"}, "must be a table, found {'location': 'x'}"),
    ],
)
def test_a_key_inside_a_value_is_refused(tmp_path: Path, toml: str, environment: dict[str, str], message: str) -> None:
    """Neither of two that contradict each other is dropped in silence."""
    prefix = "INSESSION_CLICKSTREAM__MAPPING__VALUES_"
    variables = {prefix + name if name else prefix.rstrip("_"): value for name, value in environment.items()}
    (problem,) = reading_of(tmp_path, toml, variables).problems
    assert message in problem


def test_a_secret_may_lie_in_a_file(tmp_path: Path) -> None:
    """The line end that an editor leaves is no part of it, and the variable that named the file is the origin."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    variable = "INSESSION_CLICKSTREAM__PSEUDONYM_SECRET_FILE"
    reading = reading_of(tmp_path, environment={variable: str(file)})
    assert reading.valid().clickstream.pseudonym_secret.reveal() == SECRET
    assert origins_of(reading) == {"clickstream.pseudonym_secret": [variable]}


def test_a_secret_has_one_source(tmp_path: Path) -> None:
    """Given as text and as a file it is refused, and the message repeats neither."""
    file = tmp_path / "secret"
    file.write_text(SECRET)
    toml = f'[clickstream]\npseudonym_secret = "{SECRET}"\npseudonym_secret_file = "{file}"\n'
    (problem,) = reading_of(tmp_path, toml).problems
    assert "clickstream.pseudonym_secret is given too" in problem
    assert SECRET not in problem


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"\xff" + SECRET.encode(), "no UTF-8 text"),
        (b"\n", "is empty"),
        (SECRET.encode() * 8192, "larger than 65536 bytes"),
    ],
)
def test_a_secret_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    """The message has key, path and reason, and nothing of what is in the file."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    (problem,) = reading_of(tmp_path, f'[live]\ntoken_file = "{file}"\n').problems
    assert "live.token_file: " in problem
    assert f"{file}" in problem
    assert message in problem
    assert SECRET not in problem


def secret_keys() -> list[str]:
    """List the secrets among the settings."""
    return [key.name for section in section_of(Settings).walk() for key in section.keys if key.is_secret]


@pytest.mark.parametrize("name", secret_keys())
@pytest.mark.parametrize("toml", ["[{section}.{key}]\nx = '{secret}'", "[{section}]\n{key} = ['{secret}']"])
def test_no_message_repeats_what_was_meant_as_a_secret(tmp_path: Path, name: str, toml: str) -> None:
    """Not even where it is given in a form that is wrong."""
    section, _, key = name.rpartition(".")
    reading = reading_of(tmp_path, toml.format(section=section, key=key, secret=SECRET))
    assert reading.problems
    assert SECRET not in repr(reading)


@pytest.mark.parametrize(
    ("toml", "environment", "seconds"),
    [
        ("[serving]\nbreaker_open_seconds = 7.5\n", {}, 7.5),
        ("", {"INSESSION_SERVING__BREAKER_OPEN_SECONDS": "7"}, 7.0),
        ("[serving]\nbreaker_open_seconds = 7\n", {"INSESSION_SERVING__BREAKER_OPEN": "9s"}, 9.0),
    ],
)
def test_a_duration_is_read_under_its_former_name_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], toml: str, environment: dict[str, str], seconds: float
) -> None:
    """It was a number of seconds, and said so; the last that is given wins, whatever it is called."""
    reading = reading_of(tmp_path, toml, environment)
    assert reading.valid().serving.breaker_open == timedelta(seconds=seconds)
    (warning,) = reading.warnings
    assert "serving.breaker_open_seconds is called serving.breaker_open now and takes a duration, like 7" in warning
    assert capsys.readouterr().err == f"insession: {warning}\n"


def test_a_former_name_takes_a_number_only(tmp_path: Path) -> None:
    """The message names the key as it is called now."""
    (problem,) = reading_of(tmp_path, '[serving]\nbreaker_open_seconds = "soon"\n').problems
    assert "serving.breaker_open: must be a duration like 500ms" in problem
