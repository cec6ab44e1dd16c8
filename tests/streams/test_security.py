import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from faust import SASLCredentials, SSLCredentials

from schemas.errors import UsageError
from schemas.secret import Secret
from streams.credentials import broker_credentials
from streams.security import SecuritySettings
from streams.settings import StreamSettings

PASSWORD = "geheim-4711"  # noqa: S105 - the tests look for it where it must not be
SASL: dict[str, Any] = {"mechanism": "SCRAM-SHA-512", "username": "u", "password": Secret(PASSWORD)}


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a certificate authority and a client certificate with its key."""
    folder = tmp_path_factory.mktemp("pem")
    authority = trustme.CA()
    client = authority.issue_cert("client@insession")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    client.private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")
    return folder


def test_the_default_is_plain_and_says_so_to_both_clients() -> None:
    """On loopback nothing is encrypted and nobody is named."""
    settings = SecuritySettings()
    assert settings.librdkafka() == {"security.protocol": "plaintext"}
    assert broker_credentials(settings) is None


def test_every_setting_reaches_librdkafka(pem: Path) -> None:
    """One conversion serves consumer, producer and admin client."""
    settings = SecuritySettings(
        protocol="sasl_ssl",
        ca_file=pem / "ca.pem",
        certificate_file=pem / "client.pem",
        key_file=pem / "client.pem",
        key_password=Secret("unused: the key is not encrypted"),
        verify_hostname=False,
        **SASL,
    )
    assert StreamSettings(brokers="b:1", security=settings).client_config() == {
        "bootstrap.servers": "b:1",
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "u",
        "sasl.password": PASSWORD,
        "ssl.ca.location": f"{pem}/ca.pem",
        "ssl.certificate.location": f"{pem}/client.pem",
        "ssl.key.location": f"{pem}/client.pem",
        "ssl.key.password": "unused: the key is not encrypted",
        "ssl.endpoint.identification.algorithm": "none",
    }


def test_sasl_over_tls_reaches_faust(pem: Path) -> None:
    """User, password, mechanism and the TLS context are in the credentials that all of Faust's clients read."""
    settings = SecuritySettings(protocol="sasl_ssl", ca_file=pem / "ca.pem", **SASL)
    credentials = broker_credentials(settings)
    assert isinstance(credentials, SASLCredentials)
    assert (credentials.username, credentials.password) == ("u", PASSWORD)
    assert (credentials.protocol.value, credentials.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-512")
    assert credentials.ssl_context is not None
    assert credentials.ssl_context.check_hostname
    assert credentials.ssl_context.verify_mode is ssl.CERT_REQUIRED
    assert PASSWORD not in repr(credentials)


def test_sasl_without_tls_reaches_faust() -> None:
    """A trusted network may have it so."""
    credentials = broker_credentials(SecuritySettings(protocol="sasl_plaintext", **SASL))
    assert isinstance(credentials, SASLCredentials)
    assert (credentials.protocol.value, credentials.ssl_context) == ("SASL_PLAINTEXT", None)


@pytest.mark.parametrize("verify_hostname", [True, False])
def test_tls_alone_reaches_faust(pem: Path, *, verify_hostname: bool) -> None:
    """The certificate is verified in any case, the name in it where that is asked for."""
    settings = SecuritySettings(protocol="ssl", ca_file=pem / "ca.pem", verify_hostname=verify_hostname)
    credentials = broker_credentials(settings)
    assert isinstance(credentials, SSLCredentials)
    assert credentials.context.verify_mode is ssl.CERT_REQUIRED
    assert credentials.context.check_hostname is verify_hostname


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ca_file": Path("ca.pem")}, "ca_file is set, but .*protocol 'plaintext' encrypts nothing"),
        ({"protocol": "sasl_plaintext", **SASL, "verify_hostname": False}, "verify_hostname is set, but"),
        ({"protocol": "ssl", **SASL}, "mechanism is set, but .*protocol 'ssl' names no user"),
        ({"password": Secret(PASSWORD)}, "password is set, but"),
        ({"protocol": "sasl_ssl"}, "mechanism is missing: .*needs mechanism, username, password"),
        ({"protocol": "sasl_plaintext", **SASL, "username": None}, "username is missing"),
        ({"protocol": "ssl", "certificate_file": Path("c")}, "certificate_file and .*key_file go together"),
        ({"protocol": "ssl", "key_password": Secret(PASSWORD)}, "key_password is set without"),
        ({"protocol": "ssl", "ca_file": Path("none.pem")}, "ca_file: there is no file none.pem"),
    ],
)
def test_a_contradiction_names_the_key(settings: dict[str, Any], message: str) -> None:
    """Nothing that is set stays without effect in silence, and no message has a secret in it."""
    with pytest.raises(UsageError, match=rf"^kafka\.security\.{message}") as caught:
        SecuritySettings(**settings)
    assert PASSWORD not in str(caught.value)


def test_no_secret_is_in_the_representation() -> None:
    """A settings object may be printed."""
    assert PASSWORD not in repr(SecuritySettings(protocol="sasl_plaintext", **SASL))
