import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from schemas.certificates import CertificateFiles
from schemas.errors import UsageError
from schemas.secret import Secret

PASSWORD = "geheim-4711"  # noqa: S105 - of a key that lives for one test


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with an authority, a client certificate with its key, that key encrypted, and another key."""
    folder = tmp_path_factory.mktemp("pem")
    authority = trustme.CA()
    client = authority.issue_cert("client@insession")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    client.private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")
    key = load_pem_private_key(client.private_key_pem.bytes(), None)
    encryption = BestAvailableEncryption(PASSWORD.encode())
    (folder / "encrypted.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    authority.issue_cert("other@insession").private_key_pem.write_to_path(folder / "other-key.pem")
    return folder


def test_a_context_verifies_name_and_certificate(pem: Path) -> None:
    """Nothing is trusted but what the file vouches for."""
    context = CertificateFiles(section="s", ca_file=pem / "ca.pem").ssl_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize(("key", "password"), [("client.pem", None), ("encrypted.pem", Secret(PASSWORD))])
def test_a_key_may_be_encrypted(pem: Path, key: str, password: Secret | None) -> None:
    """Its password opens it."""
    files = CertificateFiles(
        section="s", certificate_file=pem / "client.pem", key_file=pem / key, key_password=password
    )
    assert files.ssl_context().verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("key", "password"),
    [("encrypted.pem", None), ("encrypted.pem", Secret("wrong")), ("other-key.pem", None), ("ca.pem", None)],
)
def test_a_key_that_does_not_fit_is_named(pem: Path, key: str, password: Secret | None) -> None:
    """Another's key, no key, or a wrong password: nobody is asked at the terminal, and no password is repeated."""
    files = CertificateFiles(
        section="s", certificate_file=pem / "client.pem", key_file=pem / key, key_password=password
    )
    with pytest.raises(
        UsageError, match=rf"^s\.certificate_file .*client\.pem cannot be used with s\.key_file .*{key}"
    ):
        files.ssl_context()


def test_a_file_without_a_certificate_is_named(tmp_path: Path) -> None:
    """What is no PEM is found before anything connects."""
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(UsageError, match=r"^s\.ca_file: .*ca\.pem holds no PEM certificate"):
        CertificateFiles(section="s", ca_file=file).ssl_context()
