from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from schemas.errors import UsageError
from schemas.secret import Secret
from streams.encodings.settings import EncodingSettings, OutputSettings, RegistrySettings

NO_REGISTRY = RegistrySettings()
REGISTRY = RegistrySettings(url="https://one:8081, https://two:8081")


def test_the_client_is_told_what_is_set(tmp_path: Path) -> None:
    """Several addresses, credentials, certificates; retries are ours."""
    ca_file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(ca_file)
    settings = RegistrySettings(
        url="https://one:8081, https://two:8081", username="key", password=Secret("geheim"), ca_file=ca_file
    )
    assert settings.client_config() == {
        "url": "https://one:8081,https://two:8081",
        "basic.auth.user.info": "key:geheim",
        "ssl.ca.location": str(ca_file),
        "timeout": 5.0,
        "max.retries": 0,
    }
    assert "geheim" not in repr(settings)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"url": "registry:8081"}, "registry.url: 'registry:8081' is no URL"),
        ({"url": "https://key:word@one:8081"}, "user and password have keys of their own"),
        ({"url": "http://one", "username": "key"}, "go together"),
        ({"username": "key", "password": Secret("word")}, "registry.username is set without registry.url"),
        ({"url": "http://one", "ca_file": Path("ca.pem")}, "not all https"),
        ({"url": "https://one", "ca_file": Path("missing.pem")}, "registry.ca_file: there is no file"),
        ({"url": "http://one", "timeout": timedelta(0)}, "registry.timeout must be above 0"),
        ({"url": "http://one", "patience": timedelta(0)}, "registry.patience must be above 0"),
    ],
)
def test_a_registry_that_cannot_be_reached_so_is_refused(given: dict[str, Any], message: str) -> None:
    """The message names the key, and never a password."""
    with pytest.raises(UsageError) as caught:
        RegistrySettings(**given)
    assert message in str(caught.value)
    assert "word@" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "registry", "message"),
    [
        ({"format": "avro"}, NO_REGISTRY, "clickstream.encoding.format is avro: give registry.url"),
        ({"format": "avro", "framing": "none"}, REGISTRY, "clickstream.encoding.schema_file is missing"),
        ({"format": "avro", "schema_file": Path("missing.avsc")}, REGISTRY, "there is no file missing.avsc"),
        ({"schema_file": Path("a.avsc")}, REGISTRY, "clickstream.encoding.schema_file is set, but"),
        ({"framing": "none"}, REGISTRY, "clickstream.encoding.framing is set, but"),
        ({"format": "protobuf", "message": "shop.Click"}, REGISTRY, "clickstream.encoding.message is of"),
    ],
)
def test_an_encoding_that_cannot_work_is_refused(
    given: dict[str, Any], registry: RegistrySettings, message: str
) -> None:
    """With the section that it is of, since there are several."""
    with pytest.raises(UsageError) as caught:
        EncodingSettings(**given).check("clickstream.encoding", registry)
    assert message in str(caught.value)


def test_what_can_work_is_taken(tmp_path: Path) -> None:
    """JSON needs nothing, a registry or a file is enough for the rest."""
    EncodingSettings().check("clickstream.encoding", NO_REGISTRY)
    EncodingSettings(format="avro").check("clickstream.encoding", REGISTRY)
    (tmp_path / "a.proto").write_text("")
    file = EncodingSettings(format="protobuf", framing="none", schema_file=tmp_path / "a.proto", message="shop.Click")
    file.check("clickstream.encoding", NO_REGISTRY)
    OutputSettings().check(NO_REGISTRY)
    OutputSettings(encoding="avro").check(REGISTRY)


def test_avro_outputs_need_a_registry() -> None:
    """Nobody could read them without."""
    with pytest.raises(UsageError, match=r"outputs\.encoding is avro: give registry\.url"):
        OutputSettings(encoding="avro").check(NO_REGISTRY)
