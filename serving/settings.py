"""Settings of the serving tier, checked when they are made; a message names the key that is wrong."""

from dataclasses import dataclass
from pathlib import Path

from schemas.errors import UsageError
from schemas.ids import ItemId

MAX_BATCH_ROWS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings:
    """How a worker asks the model and what it answers.

    address: `host:port` of the model server's gRPC endpoint.
    tls_root_certificates: PEM file that vouches for the server; None = no TLS.
    models_directory: as the model server sees it; versions lie in `models_directory/model_name/<version>`.
    max_batch, max_waiting: rows in one Predict, and rows that may wait for the next one.
    max_concurrent_calls: Predicts under way at a time; rows gather while all are taken.
    min_budget_seconds: a row with less time left is not sent; so a late row is no failure of the server.
    breaker_failures, breaker_open_seconds: failed calls in a row that open the breaker, and for how long.
    answer_size: items of an answer (k).
    overfetch: candidates looked at for each place of an answer, so that k remain after the filters.
    default_items: what is answered where nothing else is known, best first.
    default_list_interval_seconds: how often the list for unknown visitors is written, if it has changed.
    excluded_items: never recommended.
    """

    address: str = "127.0.0.1:8500"
    model_name: str = "session_gru"
    models_directory: Path = Path("models")
    tls_root_certificates: Path | None = None
    status_timeout_seconds: float = 2.0
    release_poll_seconds: float = 2.0
    min_budget_seconds: float = 0.002
    max_batch: int = 32
    max_waiting: int = 1024
    max_concurrent_calls: int = 1
    breaker_failures: int = 5
    breaker_open_seconds: float = 5.0
    answer_size: int = 20
    overfetch: int = 10
    popular_half_life_seconds: float = 6 * 3600.0
    popular_max_items: int = 2_000
    popular_max_locations: int = 64
    default_items: tuple[ItemId, ...] = ()
    default_list_interval_seconds: float = 60.0
    excluded_items: frozenset[ItemId] = frozenset()

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise UsageError(f"serving.address: {self.address!r} is no host:port, like 127.0.0.1:8500")
        if not self.model_name or "/" in self.model_name:
            raise UsageError(f"serving.model_name: {self.model_name!r} is no name of a model")
        if self.tls_root_certificates is not None and not self.tls_root_certificates.is_file():
            raise UsageError(f"serving.tls_root_certificates: there is no file {self.tls_root_certificates}")
        for key in _ABOVE_ZERO:
            if not getattr(self, key) > 0:
                raise UsageError(f"serving.{key} must be above 0, found {getattr(self, key)}")
        if self.min_budget_seconds < 0:
            raise UsageError(f"serving.min_budget_seconds must be at least 0, found {self.min_budget_seconds}")
        if self.max_batch > MAX_BATCH_ROWS:
            raise UsageError(f"serving.max_batch must be at most {MAX_BATCH_ROWS}, found {self.max_batch}")


_ABOVE_ZERO = (
    "status_timeout_seconds",
    "release_poll_seconds",
    "max_batch",
    "max_waiting",
    "max_concurrent_calls",
    "breaker_failures",
    "breaker_open_seconds",
    "answer_size",
    "overfetch",
    "popular_half_life_seconds",
    "popular_max_items",
    "popular_max_locations",
    "default_list_interval_seconds",
)
