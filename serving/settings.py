"""Settings of the serving tier, checked when they are made; a message names the key that is wrong."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from schemas.certificates import CertificateFiles
from schemas.errors import UsageError
from schemas.ids import ItemId
from schemas.release_signature import check_key
from schemas.secret import Secret
from schemas.servable import DEFAULT_MODEL_NAME

MAX_BATCH_ROWS = 4096
MAX_KEEP_BONUS = 10.0
"""Then what was listed once comes first for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingTls:
    """TLS of the connection to the model server, without which there is none; files are PEM.

    ca_file: Certificates that vouch for the server; turns TLS on.
    certificate_file: The client's own certificate and chain, where the server asks for one.
    key_file: Private key of certificate_file, not encrypted; may be the same file.
    server_name: Name that the server's certificate is for, where that is not the address's.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        """Refuse certificates and keys that cannot be used, and those that would stay without effect."""
        if self.ca_file is not None:
            CertificateFiles(
                section="serving.tls",
                ca_file=self.ca_file,
                certificate_file=self.certificate_file,
                key_file=self.key_file,
            ).ssl_context()
            return
        for key in ("certificate_file", "key_file", "server_name"):
            if getattr(self, key) is not None:
                raise UsageError(f"serving.tls.{key} is set, but without serving.tls.ca_file there is no TLS")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings:
    """How a worker asks the model and what it answers.

    address: `host:port` of the model server's gRPC endpoint.
    model_name: Name of the model on the server, and of its folder below models_directory.
    models_directory: As the model server sees it; versions lie in `models_directory/model_name/<version>`.
    status_timeout: Patience for the server's answer to which versions it has.
    release_key: Signs releases; where it is set, one that is not signed with it is refused.
    release_max_memory_bytes: What the parts of a release may take in memory, without mapped sessions and vectors.
    release_poll: How often the worker looks for a newer release, on disk and on the server.
    min_budget: A row with less time left is not sent; so a late row is no failure of the server.
    max_batch: Rows in one Predict.
    max_waiting: Rows that may wait for the next Predict; of more the oldest is answered by a lower tier.
    max_concurrent_calls: Predicts under way at a time; rows gather while all are taken.
    breaker_failures: Failed calls in a row that open the breaker: the model is not asked for a while; 0 = never.
    breaker_open: How long the breaker stays open before one call tries again.
    answer_size: Items of an answer (k).
    overfetch: Candidates looked at for each place of an answer, so that k remain after the filters.
    popular_half_life: Age at which an event counts half in what is popular.
    popular_max_items: Items counted in what is popular, for each location; 0 = none are.
    popular_max_locations: Locations with a list of their own of what is popular; 0 = none has.
    default_items: What is answered where nothing else is known, best first.
    default_list_interval: How often the list for unknown visitors is written, if it has changed.
    excluded_items: Never recommended.
    recommend_seen: What the session has looked at may be recommended; shoppers come back to it.
    mix_rising: What rises at the shopper's place has its share of a personal answer, as far as an observer tells it.
    renew_trends: A release ranks by what is viewed everywhere of late in place of what was in training, as far as an
        observer tells it.
    keep_bonus: Added to the log of an item's score where the answer before held it: lists then change less from click
        to click.
    max_per_category: Items of one category of the catalog in a list that is the same for all; 0 = any number.
    recommend_bought: What the shopper bought may be recommended again.
    recommend_bought_in: Categories of the catalog whose items may be all the same, as of groceries; with `food` goes
        `food/fruit`.
    """

    address: str = "127.0.0.1:8500"
    model_name: str = DEFAULT_MODEL_NAME
    models_directory: Path = Path("models")
    status_timeout: timedelta = timedelta(seconds=2)
    release_key: Secret | None = None
    release_max_memory_bytes: int = 512 * 1024 * 1024
    release_poll: timedelta = timedelta(seconds=2)
    min_budget: timedelta = timedelta(milliseconds=2)
    max_batch: int = 32
    max_waiting: int = 1024
    max_concurrent_calls: int = 1
    breaker_failures: int = 5
    breaker_open: timedelta = timedelta(seconds=5)
    answer_size: int = 20
    overfetch: int = 10
    popular_half_life: timedelta = timedelta(hours=6)
    popular_max_items: int = 2_000
    popular_max_locations: int = 64
    default_items: tuple[ItemId, ...] = ()
    default_list_interval: timedelta = timedelta(minutes=1)
    excluded_items: frozenset[ItemId] = frozenset()
    recommend_seen: bool = True
    mix_rising: bool = True
    renew_trends: bool = True
    keep_bonus: float = 0.0
    max_per_category: int = 0
    recommend_bought: bool = False
    recommend_bought_in: frozenset[str] = frozenset()
    tls: ServingTls = field(default_factory=ServingTls)

    @property
    def model_folder(self) -> Path:
        """The folder whose children are the model's versions."""
        return self.models_directory / self.model_name

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise UsageError(f"serving.address: {self.address!r} is no host:port, like 127.0.0.1:8500")
        if not self.model_name or "/" in self.model_name or self.model_name.startswith("."):
            raise UsageError(f"serving.model_name: {self.model_name!r} is no name of a model")
        if self.release_key is not None:
            check_key(self.release_key, "serving.release_key")
        for key in _ABOVE_ZERO:
            value = getattr(self, key)
            if not value > type(value)(0):
                raise UsageError(f"serving.{key} must be above 0, found {value}")
        for key in _AT_LEAST_ZERO:
            value = getattr(self, key)
            if value < type(value)(0):
                raise UsageError(f"serving.{key} must be at least 0, found {value}")
        if self.keep_bonus > MAX_KEEP_BONUS:
            raise UsageError(f"serving.keep_bonus must be at most {MAX_KEEP_BONUS:g}, found {self.keep_bonus}")
        if self.max_batch > MAX_BATCH_ROWS:
            raise UsageError(f"serving.max_batch must be at most {MAX_BATCH_ROWS}, found {self.max_batch}")


_ABOVE_ZERO = (
    "status_timeout",
    "release_max_memory_bytes",
    "release_poll",
    "max_batch",
    "max_waiting",
    "max_concurrent_calls",
    "breaker_open",
    "answer_size",
    "overfetch",
    "popular_half_life",
    "default_list_interval",
)
_AT_LEAST_ZERO = (
    "min_budget",
    "breaker_failures",
    "popular_max_items",
    "popular_max_locations",
    "keep_bonus",
    "max_per_category",
)
