"""How values that are no JSON are set: their format, and the schema registry; checked when made."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal

from schemas.certificates import CertificateFiles
from schemas.errors import UsageError
from schemas.secret import Secret

Format = Literal["json", "avro", "protobuf"]
Framing = Literal["confluent", "none"]

_TLS_KEYS: Final = ("ca_file", "certificate_file", "key_file", "key_password")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """The schema registry that the topics share; it is asked only where an encoding needs it.

    url: Of its Confluent API, as in https://registry:8081; several are comma separated and tried in turn.
    username: For basic authentication; of Confluent Cloud, the API key.
    password: For basic authentication; of Confluent Cloud, the API secret.
    ca_file: Certificates that vouch for the registry; without one, those that Python brings.
    certificate_file: The client's own certificate and chain, where the registry asks for one.
    key_file: Private key of certificate_file; may be the same file.
    key_password: Of key_file, where that is encrypted.
    timeout: How long the registry may take for one answer.
    patience: While the registry is away, a record waits so long for its schema; then the worker ends, to start over.
    """

    url: str | None = None
    username: str | None = None
    password: Secret | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: Secret | None = None
    timeout: timedelta = timedelta(seconds=5)
    patience: timedelta = timedelta(minutes=2)

    def __post_init__(self) -> None:
        """Refuse settings that cannot work, alone or together."""
        for url in self.urls:
            if not url.startswith(("http://", "https://")) or "@" in url:
                raise UsageError(
                    f"registry.url: {url.rpartition('@')[2]!r} is no URL like https://registry:8081; user and password "
                    "have keys of their own"
                )
        for name in ("timeout", "patience"):
            if getattr(self, name) <= timedelta(0):
                raise UsageError(f"registry.{name} must be above 0, found {getattr(self, name)}")
        if (self.username is None) != (self.password is None):
            raise UsageError("registry.username and registry.password go together: give both, or none")
        given = [name for name in ("username", *_TLS_KEYS) if getattr(self, name) is not None]
        if given and not self.urls:
            raise UsageError(f"registry.{given[0]} is set without registry.url")
        self._check_tls()

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses, in the order in which they are tried."""
        return tuple(url.strip() for url in (self.url or "").split(",") if url.strip())

    def client_config(self) -> dict[str, Any]:
        """Return the configuration of confluent-kafka's client; the secrets are in it, so never log it."""
        config = {
            "url": ",".join(self.urls),
            "basic.auth.user.info": None if self.password is None else f"{self.username}:{self.password.reveal()}",
            "ssl.ca.location": None if self.ca_file is None else str(self.ca_file),
            "ssl.certificate.location": None if self.certificate_file is None else str(self.certificate_file),
            "ssl.key.location": None if self.key_file is None else str(self.key_file),
            "ssl.key.password": None if self.key_password is None else self.key_password.reveal(),
            "timeout": self.timeout.total_seconds(),
            "max.retries": 0,  # whoever asks decides how long to go on
        }
        return {name: value for name, value in config.items() if value is not None}

    def _check_tls(self) -> None:
        given = [name for name in _TLS_KEYS if getattr(self, name) is not None]
        if not given:
            return
        if not all(url.startswith("https://") for url in self.urls):
            raise UsageError(f"registry.{given[0]} is set, but registry.url is not all https")
        CertificateFiles(
            section="registry",
            ca_file=self.ca_file,
            certificate_file=self.certificate_file,
            key_file=self.key_file,
            key_password=self.key_password,
        ).ssl_context()


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingSettings:
    """What the values are, of the catalog or of all clickstreams; anything but json needs insession[registry-formats].

    format: JSON is read in Confluent's frame, too, and needs no registry.
    framing: confluent = a zero byte and a schema id come first, as Confluent's clients write; none = the value alone.
    schema_file: Instead of a registry: .avsc, .proto, or descriptors as `protoc --include_imports` writes them.
    message: Full name of the Protobuf message in schema_file; without one, the first of the file.
    """

    format: Format = "json"
    framing: Framing = "confluent"
    schema_file: Path | None = None
    message: str | None = None

    def check(self, section: str, registry: RegistrySettings) -> None:
        """Refuse what cannot work, with the registry that there is; `section` is what messages name it."""
        if self.format == "json":
            given = [name for name in ("schema_file", "message") if getattr(self, name) is not None]
            if given or self.framing == "none":
                raise UsageError(f"{section}.{(*given, 'framing')[0]} is set, but {section}.format is json")
        elif self.schema_file is None:
            if self.framing == "none":
                raise UsageError(
                    f"{section}.schema_file is missing: with {section}.framing none, no value names a schema"
                )
            if not registry.urls:
                raise UsageError(
                    f"{section}.format is {self.format}: give registry.url, or {section}.schema_file where there is no "
                    "registry"
                )
        elif not self.schema_file.is_file():
            raise UsageError(f"{section}.schema_file: there is no file {self.schema_file}")
        if self.message is not None and (self.format != "protobuf" or self.schema_file is None):
            raise UsageError(f"{section}.message is of a Protobuf {section}.schema_file, and there is none")


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """How the worker writes what it writes; dead letters and the changelog stay as they are.

    encoding: avro is framed and registered, one subject a topic (`TOPIC-value`); it needs insession[registry-formats].
    """

    encoding: Literal["json", "avro"] = "json"

    def check(self, registry: RegistrySettings) -> None:
        """Refuse Avro without a registry."""
        if self.encoding == "avro" and not registry.urls:
            raise UsageError("outputs.encoding is avro: give registry.url, where the schemas are registered")
