"""How the brokers are reached safely: TLS and SASL, checked once and turned into what librdkafka and aiokafka take."""

import ssl
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, Literal

from schemas.certificates import CertificateFiles
from schemas.errors import UsageError
from schemas.secret import Secret
from streams.oauth import OAuthSettings, TokenSource, require_aws_signer, token_source

Protocol = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"]

_OAUTH_KEYS: Final = ("oauth.token_url", "oauth.client_id", "oauth.client_secret")
_PASSWORD_KEYS: Final = ("username", "password")
_TLS_KEYS: Final = ("ca_file", "certificate_file", "key_file", "key_password")
_SASL_KEYS: Final = ("mechanism", "username", "password", "aws_region", *_OAUTH_KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecuritySettings:
    """TLS and SASL of every connection to the brokers; files are PEM.

    protocol: As the brokers' listener has it.
    mechanism: Of SASL. PLAIN sends the password, and OAUTHBEARER the token, as it is, so only over sasl_ssl.
        AWS_MSK_IAM signs a token with the AWS credentials of the machine and needs insession[msk].
    username: Of PLAIN and SCRAM.
    password: Of PLAIN and SCRAM.
    aws_region: Of AWS_MSK_IAM, as in eu-central-1.
    ca_file: Certificates that vouch for the brokers; without one, those of the system.
    certificate_file: The client's own certificate and chain, where brokers ask for one.
    key_file: Private key of certificate_file; may be the same file.
    key_password: Of key_file, where that is encrypted.
    verify_hostname: Whether a broker's certificate must be for the name under which it is reached.
    """

    protocol: Protocol = "plaintext"
    mechanism: Mechanism | None = None
    username: str | None = None
    password: Secret | None = None
    aws_region: str | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: Secret | None = None
    verify_hostname: bool = True
    oauth: OAuthSettings = field(default_factory=OAuthSettings)

    def __post_init__(self) -> None:
        """Refuse what contradicts itself, and certificates and keys that cannot be used."""
        self._check_tls_keys()
        self._check_sasl_keys()
        self.ssl_context()

    @property
    def uses_tls(self) -> bool:
        """Return whether the connection is encrypted."""
        return self.protocol in {"ssl", "sasl_ssl"}

    @property
    def uses_sasl(self) -> bool:
        """Return whether the client names itself by user and password."""
        return self.protocol in {"sasl_plaintext", "sasl_ssl"}

    @property
    def tokens(self) -> TokenSource | None:
        """Return where the tokens come from; None where the mechanism has none."""
        if self.mechanism == "OAUTHBEARER":
            return token_source(self.oauth, None)
        return token_source(self.oauth, self.aws_region) if self.mechanism == "AWS_MSK_IAM" else None

    def librdkafka(self) -> dict[str, Any]:
        """Return these settings as librdkafka's; the secrets are in it, so never log it."""
        tokens = self.tokens
        config = {
            "security.protocol": self.protocol,
            "sasl.mechanism": self.mechanism if tokens is None else "OAUTHBEARER",
            "oauth_cb": None if tokens is None else tokens.librdkafka,
            "sasl.username": self.username,
            "sasl.password": _revealed(self.password),
            "ssl.ca.location": _text(self.ca_file),
            "ssl.certificate.location": _text(self.certificate_file),
            "ssl.key.location": _text(self.key_file),
            "ssl.key.password": _revealed(self.key_password),
            "ssl.endpoint.identification.algorithm": None if self.verify_hostname else "none",
        }
        return {name: value for name, value in config.items() if value is not None}

    def ssl_context(self) -> ssl.SSLContext | None:
        """Make the context of a TLS connection; None where the protocol has no TLS.

        Raises UsageError that names the file that cannot be used.
        """
        if not self.uses_tls:
            return None
        files = CertificateFiles(
            section="kafka.security",
            ca_file=self.ca_file,
            certificate_file=self.certificate_file,
            key_file=self.key_file,
            key_password=self.key_password,
        )
        context = files.ssl_context()
        context.check_hostname = self.verify_hostname
        return context

    def _check_tls_keys(self) -> None:
        if self.uses_tls:
            return
        unused = [key for key in _TLS_KEYS if getattr(self, key) is not None]
        unused += ["verify_hostname"] * (not self.verify_hostname)
        if unused:
            raise UsageError(
                f"kafka.security.{unused[0]} is set, but kafka.security.protocol {self.protocol!r} encrypts nothing: "
                "make it ssl or sasl_ssl, or take the key away"
            )

    def _check_sasl_keys(self) -> None:
        given = [key for key in _SASL_KEYS if _value(self, key)]
        if given and not self.uses_sasl:
            raise UsageError(
                f"kafka.security.{given[0]} is set, but kafka.security.protocol {self.protocol!r} names no user: make "
                "it sasl_ssl or sasl_plaintext, or take the key away"
            )
        if not self.uses_sasl:
            return
        needed = ("mechanism", *_needed(self.mechanism))
        missing = [key for key in needed if key not in given]
        if missing:
            raise UsageError(
                f"kafka.security.{missing[0]} is missing: kafka.security.protocol {self.protocol!r} needs "
                f"{', '.join(needed)}"
            )
        if unused := [key for key in given if key not in needed]:
            raise UsageError(
                f"kafka.security.{unused[0]} is set, but kafka.security.mechanism {self.mechanism} does not use it"
            )
        if self.mechanism == "AWS_MSK_IAM":
            if not self.uses_tls:
                raise UsageError("kafka.security.protocol must be sasl_ssl: brokers take AWS_MSK_IAM over TLS only")
            require_aws_signer()


def _needed(mechanism: Mechanism | None) -> tuple[str, ...]:
    if mechanism == "OAUTHBEARER":
        return _OAUTH_KEYS
    return ("aws_region",) if mechanism == "AWS_MSK_IAM" else _PASSWORD_KEYS


def _value(settings: SecuritySettings, key: str) -> Any:
    return attrgetter(key)(settings)


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
