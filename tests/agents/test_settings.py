from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme

from agents.settings import DEMO_SECRET, Settings, load_settings, report_settings, warnings_of
from schemas.errors import UsageError
from schemas.secret import MASK


def settings_of(
    tmp_path: Path,
    toml: str = "",
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Load settings from a file, an environment and options."""
    file = tmp_path / "insession.toml"
    file.write_text(toml)
    return load_settings(overrides, file=file, environment=environment or {})


def test_nothing_given_is_the_defaults() -> None:
    """Without file, environment and options the sections' own defaults hold."""
    assert load_settings(environment={}) == Settings()


@pytest.mark.parametrize(
    ("toml", "environment", "overrides", "group"),
    [
        ("", {}, {}, "insession"),
        ("f", {}, {}, "f"),
        ("f", {"INSESSION_KAFKA__GROUP": "e"}, {}, "e"),
        ("f", {"INSESSION_KAFKA__GROUP": "e"}, {"kafka": {"group": "o"}}, "o"),
        ("f", {}, {"kafka": {"group": "o"}}, "o"),
    ],
)
def test_the_nearest_source_wins(
    tmp_path: Path, toml: str, environment: dict[str, str], overrides: dict[str, dict[str, Any]], group: str
) -> None:
    """Default < file < environment < options, and a source takes away no other key of the section."""
    text = f'[kafka]\nbrokers = "kept:1"\ngroup = "{toml}"\n' if toml else '[kafka]\nbrokers = "kept:1"\n'
    kafka = settings_of(tmp_path, text, environment, overrides).kafka
    assert (kafka.group, kafka.brokers) == (group, "kept:1")


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    """`INSESSION_CONFIG` is read where no file is given."""
    file = tmp_path / "s.toml"
    file.write_text('[kafka]\ngroup = "from-file"\n')
    assert load_settings(environment={"INSESSION_CONFIG": str(file)}).kafka.group == "from-file"


@pytest.mark.parametrize(
    ("toml", "environment", "message"),
    [
        (
            "[kafka]\nbroker = 1",
            {},
            r"insession\.toml: no setting kafka\.broker; did you mean brokers\? Known here: brokers, ",
        ),
        ("[kafak]", {}, r"insession\.toml: no setting kafak; did you mean kafka\? Known here: catalog, "),
        ("kafka = 1", {}, r"insession\.toml: kafka is a section, found a value"),
        (
            "[clickstream.mapping]\ntime_formt = 'unix_s'",
            {},
            r"clickstream\.mapping\.time_formt; did you mean time_format",
        ),
        ("[clickstream.mapping.paths]\nitem = 'x'", {}, "'item' is no field of a click"),
        ("", {"INSESSION_KAFKA__BROKER": "x"}, r"^INSESSION_KAFKA__BROKER: no setting kafka\.broker; "),
        (
            "",
            {"INSESSION_KAFKA__BROKERS__X": "x", "INSESSION_KAFKA__BROKERS": "y"},
            r"BROKERS__X: kafka\.brokers is a value",
        ),
        ("", {"INSESSION_KAFKA_BROKERS": "x"}, "two underscores: INSESSION_KAFKA__BROKERS$"),
    ],
)
def test_a_typo_names_key_and_origin(tmp_path: Path, toml: str, environment: dict[str, str], message: str) -> None:
    """A key that nobody reads is refused; it must not be a default in silence."""
    with pytest.raises(UsageError, match=message):
        settings_of(tmp_path, toml, environment)


def test_a_typo_of_the_options_names_them(tmp_path: Path) -> None:
    """The command line is an origin too."""
    with pytest.raises(UsageError, match=r"the command line: no setting topics\.prefx"):
        settings_of(tmp_path, overrides={"topics": {"prefx": "a"}})


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("5", 5), ("0.5", 0.5), ('"PT1M30S"', 90), ('"7"', 7), ('"500ms"', 0.5), ('"90s"', 90), ('"1h30m"', 5400)],
)
def test_a_duration_has_units_or_is_seconds_or_iso_8601(tmp_path: Path, given: str, seconds: float) -> None:
    """`30m` and `1h30m`, numbers, numeric strings and ISO-8601 durations are all read."""
    settings = settings_of(tmp_path, f"[kafka]\ntick_interval = {given}\n")
    assert settings.kafka.tick_interval == timedelta(seconds=seconds)


def test_the_environments_strings_become_what_the_setting_is(tmp_path: Path) -> None:
    """Numbers, booleans, durations and paths are read from strings."""
    environment = {
        "INSESSION_KAFKA__WEB_PORT": "6070",
        "INSESSION_KAFKA__TICK_INTERVAL": "0.2",
        "INSESSION_KAFKA__DATADIR": "/data/insession",
        "INSESSION_CATALOG__REQUIRE_CATALOG": "true",
        "INSESSION_TEST_BROKERS": "not a setting: one underscore",
    }
    settings = settings_of(tmp_path, environment=environment)
    assert (settings.kafka.web_port, settings.kafka.tick_interval) == (6070, timedelta(milliseconds=200))
    assert (settings.kafka.datadir, settings.catalog.require_catalog) == (Path("/data/insession"), True)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[kafka]\nweb_port = 'x'", r"insession\.toml: kafka\.web_port: must be a whole number, found 'x'$"),
        ("[kafka]\nbrokers = 1", r"kafka\.brokers: must be a text, found 1$"),
        ("[kafka]\ntick_interval = '5 s'", r"kafka\.tick_interval: must be a duration like 500ms, 30s"),
        ("[kafka]\ndatadir = 1", r"kafka\.datadir: must be a path, found 1$"),
        (
            "[catalog]\nrequire_catalog = 'perhaps'",
            r"catalog\.require_catalog: must be true or false, found 'perhaps'$",
        ),
        ("[clickstream.mapping]\ntime_format = 'unix'", r"clickstream\.mapping\.time_format"),
    ],
)
def test_a_wrong_type_names_file_and_key(tmp_path: Path, toml: str, message: str) -> None:
    """What cannot be read as the setting's type is a usage error."""
    with pytest.raises(UsageError, match=message):
        settings_of(tmp_path, toml)


def test_contradicting_settings_are_a_usage_error(tmp_path: Path) -> None:
    """What a section refuses reaches the command line as it is."""
    with pytest.raises(UsageError, match="send_timeout"):
        settings_of(tmp_path, "[kafka]\nsend_timeout = 200\n")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The message has the path and the reason."""
    with pytest.raises(UsageError, match=r"none\.toml: No such file"):
        load_settings(file=tmp_path / "none.toml", environment={})


@pytest.mark.parametrize("content", [b"[kafka", b"\xff\xfe"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    """What is no TOML is a usage error."""
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"bad\.toml"):
        load_settings(file=file, environment={})


@pytest.mark.parametrize("start", ["2026-01-31T12:00:00Z", "'2026-01-31T12:00:00Z'"])
def test_a_start_is_a_time_of_toml_or_its_text(tmp_path: Path, start: str) -> None:
    """Who writes the one means the other."""
    moment = settings_of(tmp_path, f"[clickstream]\nstart = {start}").clickstream.first_start
    assert moment == datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("start", ["'newest'", "2026-01-31T12:00:00", "2026-01-31"])
def test_what_is_no_start_names_its_setting(tmp_path: Path, start: str) -> None:
    """A time without an offset, too."""
    with pytest.raises(UsageError, match=r"^clickstream\.start: .* is none of earliest, latest .*insession\.toml"):
        settings_of(tmp_path, f"[clickstream]\nstart = {start}")


def test_the_mapping_is_read_from_toml(tmp_path: Path) -> None:
    """A shop's own JSON is stated in the file."""
    toml = """
        [clickstream.mapping]
        time_format = "unix_s"
        [clickstream.mapping.paths]
        visitor_id = "user.id"
        [clickstream.mapping.values.event_type]
        order = "purchase"
    """
    mapping = settings_of(tmp_path, toml).clickstream.mapping
    assert (mapping.time_format, mapping.paths) == ("unix_s", {"visitor_id": "user.id"})
    assert mapping.values == {"event_type": {"order": "purchase"}}


def test_further_clickstreams_have_mappings_of_their_own(tmp_path: Path) -> None:
    """Under the full names that the shop gave them, dots and all; each is checked as the shop's."""
    toml = """
        [topics]
        prefix = "rec-"
        clickstream = "shop.clicks"
        [clickstream.mapping.paths]
        item_id = "sku"
        [clickstream.sources."shop.orders"]
        time_format = "unix_s"
        [clickstream.sources."shop.orders".paths]
        item_id = "lines[].sku"
        [clickstream.sources."shop.app"]
    """
    settings = settings_of(tmp_path, toml)
    assert list(settings.clickstreams) == ["shop.clicks", "shop.orders", "shop.app"]
    assert settings.clickstreams["shop.orders"].paths == {"item_id": "lines[].sku"}
    assert settings.clickstreams["shop.app"].is_identity
    specs = {spec.name: spec for spec in settings.topic_specs()}
    assert all(specs[name].is_the_shops for name in settings.clickstreams)


@pytest.mark.parametrize("name", ["clickstream", "recommendations", "a b"])
def test_a_source_is_a_topic_of_its_own(tmp_path: Path, name: str) -> None:
    """Not one that is read or written already."""
    with pytest.raises(UsageError, match=rf"^clickstream\.sources '{name}'.*insession\.toml"):
        settings_of(tmp_path, f'[clickstream.sources."{name}".paths]\nitem_id = "sku"')


def test_a_wrong_mapping_of_a_source_names_it(tmp_path: Path) -> None:
    """The message says where it is."""
    with pytest.raises(UsageError, match=r"clickstream\.sources.*'item' is no field"):
        settings_of(tmp_path, "[clickstream.sources.orders.paths]\nitem = 'x'")


@pytest.mark.parametrize(("secret", "is_warned"), [(DEMO_SECRET.reveal(), True), ("hidden-7-hidden-7", False)])
def test_the_report_shows_settings_but_no_secret(secret: str, *, is_warned: bool) -> None:
    """What is in force is logged without the secret; a warning says where the secret is the published default."""
    settings = load_settings({"clickstream": {"pseudonym_secret": secret}, "kafka": {"group": "g"}}, environment={})
    with structlog.testing.capture_logs() as logged:
        report_settings(settings)
    assert logged[0]["section"] == "kafka"
    assert (logged[0]["values"]["group"], logged[0]["values"]["session_timeout"]) == ("g", "30s")
    assert "hidden-7" not in repr(logged) + repr(settings)
    assert [entry["event"] for entry in logged if entry["event"] != "settings"] == ["insecure_setting"] * is_warned


def test_a_revocation_must_outlast_answers_and_their_acknowledgement() -> None:
    """Budget plus send timeout must be below the rebalance timeout, else a worker is thrown out while it waits."""
    overrides = {"clickstream": {"freshness_budget": 70}, "kafka": {"send_timeout": 20, "rebalance_timeout": 90}}
    with pytest.raises(UsageError, match=r"freshness_budget plus kafka\.send_timeout"):
        load_settings(overrides, environment={})
    overrides["clickstream"]["freshness_budget"] = 69
    assert load_settings(overrides, environment={}).kafka.rebalance_timeout == timedelta(seconds=90)


def test_waiting_for_the_catalog_is_no_stall() -> None:
    """The worker must be allowed to wait for its catalog for as long as it is told to."""
    overrides = {"catalog": {"start_timeout": "150s"}, "kafka": {"stall_timeout": "150s"}}
    with pytest.raises(UsageError, match=r"catalog\.start_timeout .* must be below kafka\.stall_timeout"):
        load_settings(overrides, environment={})
    overrides["kafka"]["stall_timeout"] = "151s"
    assert load_settings(overrides, environment={}).catalog.start_timeout == timedelta(seconds=150)


def test_no_secret_is_in_report_representation_or_text() -> None:
    """Whatever is printed of the settings, every secret in them is a mask."""
    secret = "geheim-4711-geheim"  # noqa: S105 - looked for where it must not be
    environment = {
        "INSESSION_KAFKA__SECURITY__PROTOCOL": "sasl_plaintext",
        "INSESSION_KAFKA__SECURITY__MECHANISM": "SCRAM-SHA-256",
        "INSESSION_KAFKA__SECURITY__USERNAME": "u",
        "INSESSION_KAFKA__SECURITY__PASSWORD": secret,
        "INSESSION_CLICKSTREAM__PSEUDONYM_SECRET": secret,
        "INSESSION_LIVE__TOKEN": secret,
    }
    settings = load_settings(environment=environment)
    with structlog.testing.capture_logs() as logged:
        report_settings(settings)
    assert secret not in f"{logged} {settings} {settings!r}"
    sections = {entry["section"]: entry["values"] for entry in logged if entry["event"] == "settings"}
    assert sections["kafka.security"]["password"] == sections["live"]["token"] == MASK


@pytest.mark.parametrize(("protocol", "is_warned"), [("sasl_plaintext", True), ("sasl_ssl", False)])
def test_a_password_in_the_clear_is_warned_of(protocol: str, *, is_warned: bool) -> None:
    """It is allowed, for a network that is trusted."""
    security = {"protocol": protocol, "mechanism": "PLAIN", "username": "u", "password": "p"}
    warned = warnings_of(load_settings({"kafka": {"security": security}}, environment={}))
    assert any("sends the password as it is" in warning for warning in warned) is is_warned


@pytest.mark.parametrize("secret", ["", "x", "fifteen letters"])
def test_pseudonyms_need_a_secret_that_cannot_be_guessed(secret: str) -> None:
    """A variable that was passed on empty must not key the hash; nor must what is tried out in a moment."""
    with pytest.raises(UsageError, match=r"^clickstream\.pseudonym_secret must have at least 16 characters"):
        load_settings(environment={"INSESSION_CLICKSTREAM__PSEUDONYM_SECRET": secret})


def test_certificates_for_any_name_are_warned_of() -> None:
    """Without the name in it, any certificate of the same CA passes for a broker's."""
    security = {"protocol": "ssl", "verify_hostname": False}
    warned = warnings_of(load_settings({"kafka": {"security": security}}, environment={}))
    assert any("kafka.security.verify_hostname is false" in warning for warning in warned)


def test_tls_everywhere_names_what_is_in_the_clear(tmp_path: Path) -> None:
    """One switch holds for brokers, model server, registry, token endpoint and collector, and says all at once."""
    toml = """
[security]
require_tls = true
[kafka.security]
protocol = "sasl_plaintext"
mechanism = "OAUTHBEARER"
oauth = { token_url = "http://login/token", client_id = "c", client_secret = "geheim" }
[registry]
url = "https://one:8081,http://two:8081"
[tracing]
endpoint = "http://u:geheim@collector:4317"
"""
    with pytest.raises(UsageError, match=r"security\.require_tls is set, but there is no TLS") as refused:
        settings_of(tmp_path, toml)
    for told in (
        "kafka.security.protocol is 'sasl_plaintext'",
        "serving.tls.ca_file is not set",
        "kafka.security.oauth.token_url is http://login/token",
        "registry.url is http://two:8081",
        f"tracing.endpoint is http://{MASK}@collector:4317",
    ):
        assert told in str(refused.value)
    assert "one:8081" not in str(refused.value)


def test_tls_everywhere_is_content_with_tls(tmp_path: Path) -> None:
    """What is encrypted, or not used, is not asked for."""
    ca_file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(ca_file)
    toml = f"""
[security]
require_tls = true
[kafka.security]
protocol = "ssl"
[serving.tls]
ca_file = "{ca_file}"
[tracing]
endpoint = "https://collector:4317"
"""
    assert settings_of(tmp_path, toml).security.require_tls


def test_a_password_in_an_address_is_masked_wherever_it_is_printed(tmp_path: Path) -> None:
    """The report at the start, and the message that refuses it."""
    settings = settings_of(tmp_path, '[tracing]\nendpoint = "https://u:geheim@collector:4317"')
    with structlog.testing.capture_logs() as logged:
        report_settings(settings)
    assert "collector:4317" in str(logged)
    assert "geheim" not in str(logged)
    for toml in ('[tracing]\nendpoint = "u:geheim@collector"', '[kafka]\nbrokers = "u:geheim@kafka:9092"'):
        with pytest.raises(UsageError) as refused:
            settings_of(tmp_path, toml)
        assert "geheim" not in str(refused.value)


@pytest.mark.parametrize("key", ["clickstream.freshness_budget", "catalog.start_timeout", "topics.outcomes_retention"])
def test_no_time_is_negative(key: str) -> None:
    """A budget below 0 would leave every click to the lowest tier in silence."""
    section, name = key.split(".")
    with pytest.raises(UsageError, match=rf"^{key}.*\(set: {key} by the command line\)"):
        load_settings({section: {name: -1}}, environment={})


def test_lists_are_not_stale_before_the_next_ones_are_there() -> None:
    """Else they would be believed half of the time."""
    overrides = {"trending": {"publish_interval": "10m", "stale_after": "19m"}}
    with pytest.raises(UsageError, match=r"trending\.stale_after must be at least twice trending\.publish_interval"):
        load_settings(overrides, environment={})
    overrides["trending"]["stale_after"] = "20m"
    load_settings(overrides, environment={})
