"""A Kafka node that also listens with TLS and SASL, as clusters do that are not on loopback.

A user comes in by SCRAM with a client certificate, or by a token (OAUTHBEARER). Kafka's default validator takes tokens
that nobody has signed, and checks what is in them: enough to see whether a client brings the right one in time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trustme
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from schemas.free_ports import free_port
from streams.cluster.topics import admin_client
from streams.local.kafka_node import KafkaNode

USER: Final = "insession"
PASSWORD: Final = "scram-geheim-4711"  # noqa: S105 - of a node that lives for one test; looked for in logs
KEY_PASSWORD: Final = "key-geheim-0815"  # noqa: S105 - as above

_PROPERTIES: Final = """
listeners={plain},CONTROLLER://127.0.0.1:{controller_port},SECURE://127.0.0.1:{secure_port},TOKEN://127.0.0.1:{token_port}
advertised.listeners={plain},SECURE://127.0.0.1:{secure_port},TOKEN://127.0.0.1:{token_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL,TOKEN:SASL_SSL
listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.token.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.token.oauthbearer.sasl.jaas.config=\
org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
listener.name.secure.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}
listener.name.secure.ssl.client.auth=required
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""


@dataclass(frozen=True, slots=True)
class Certificates:
    """A certificate authority, what it signed for broker and client, and another that nobody trusts."""

    ca_file: Path
    other_ca_file: Path
    keystore: Path
    certificate_file: Path
    key_file: Path


def make_certificates(folder: Path) -> Certificates:
    """Write the PEM files; the client's key is encrypted with KEY_PASSWORD."""
    made = Certificates(*(folder / f"{name}.pem" for name in ("ca", "other-ca", "keystore", "client", "client-key")))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(made.ca_file)
    trustme.CA().cert_pem.write_to_path(made.other_ca_file)
    broker, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("worker@insession")
    made.keystore.write_bytes(_pkcs8(broker, None) + b"".join(blob.bytes() for blob in broker.cert_chain_pems))
    made.certificate_file.write_bytes(b"".join(blob.bytes() for blob in client.cert_chain_pems))
    made.key_file.write_bytes(_pkcs8(client, KEY_PASSWORD))
    return made


class SecureNode(KafkaNode):
    """One node with a SASL_SSL listener beside the plain one; it asks for a client certificate and knows one user."""

    def __init__(self, certificates: Certificates) -> None:
        super().__init__()
        self.certificates = certificates
        self._secure_port, self._token_port = free_port(), free_port()

    @property
    def secure_address(self) -> str:
        """`host:port` of the listener with TLS and SASL."""
        return f"127.0.0.1:{self._secure_port}"

    @property
    def token_address(self) -> str:
        """`host:port` of the listener with TLS that asks for a token."""
        return f"127.0.0.1:{self._token_port}"

    def start(self) -> None:
        """Start the broker and make the user."""
        super().start()
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        upsertion = UserScramCredentialUpsertion(USER, credential, PASSWORD.encode())
        admin = admin_client({"bootstrap.servers": self.address})
        admin.alter_user_scram_credentials([upsertion])[USER].result()

    def allow(self, prefix: str) -> None:
        """Let the user do what a worker and `insession topics` do, on nothing but what is under `prefix`."""
        topics = ("READ", "WRITE", "DESCRIBE", "DESCRIBE_CONFIGS", "CREATE")
        rights = [(ResourceType.TOPIC, operation) for operation in topics] + [(ResourceType.GROUP, "READ")]
        bindings = [
            AclBinding(
                kind,
                prefix,
                ResourcePatternType.PREFIXED,
                f"User:{USER}",
                "*",
                AclOperation[operation],
                AclPermissionType.ALLOW,
            )
            for kind, operation in rights
        ]
        admin = admin_client({"bootstrap.servers": self.address})
        for done in admin.create_acls(bindings).values():
            done.result()

    def environment(self, **changed: str | Path) -> Mapping[str, str]:
        """Return the variables of a worker that may come in, some of them changed."""
        right = {
            "protocol": "sasl_ssl",
            "mechanism": "SCRAM-SHA-512",
            "username": USER,
            "password": PASSWORD,
            "ca_file": self.certificates.ca_file,
            "certificate_file": self.certificates.certificate_file,
            "key_file": self.certificates.key_file,
            "key_password": KEY_PASSWORD,
        }
        return {f"INSESSION_KAFKA__SECURITY__{key.upper()}": str(value) for key, value in {**right, **changed}.items()}

    def token_environment(self, token_url: str, **changed: str) -> Mapping[str, str]:
        """Return the variables of a worker that comes in by a token of this endpoint, some of them changed."""
        right = {
            "protocol": "sasl_ssl",
            "mechanism": "OAUTHBEARER",
            "oauth__token_url": token_url,
            "oauth__client_id": USER,
            "oauth__client_secret": PASSWORD,
            "ca_file": str(self.certificates.ca_file),
        }
        return {f"INSESSION_KAFKA__SECURITY__{key.upper()}": value for key, value in {**right, **changed}.items()}

    def _write_properties(self) -> Path:
        path = super()._write_properties()
        added = _PROPERTIES.format(
            plain=f"PLAINTEXT://{self.address}",
            controller_port=self._controller_port,
            secure_port=self._secure_port,
            token_port=self._token_port,
            keystore=self.certificates.keystore,
            truststore=self.certificates.ca_file,
        )
        path.write_text(path.read_text(encoding="utf-8") + added, encoding="utf-8")  # the last of equal keys holds
        return path


def _pkcs8(certificate: trustme.LeafCert, password: str | None) -> bytes:
    """Write a private key in the one form that Kafka's PEM keystore reads."""
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password.encode())
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
