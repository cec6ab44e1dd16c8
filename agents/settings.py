"""What can be set, section by section: default < TOML file < environment < options, read once and passed on.

The environment names a setting as `INSESSION_SECTION__KEY`, for example `INSESSION_KAFKA__BROKERS`. A file is given by
`--config` or `INSESSION_CONFIG`. `insession config` shows, checks and explains them; `docs/settings.md` lists them.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import structlog

from agents.clicks.output_headers import CloudEventsMode
from agents.configuration.keys import section_of
from agents.configuration.reading import Reading, read
from agents.configuration.sources import Given, from_environment, from_file, from_options
from agents.configuration.values import plain, value_of
from schemas.catalog_mapping import CatalogMapping
from schemas.check_report import CheckThresholds
from schemas.errors import UsageError
from schemas.mapping import FieldMapping
from schemas.places import LocationSettings
from schemas.secret import Secret
from serving.settings import ServingSettings
from streams.cluster.topics import Topic, TopicSettings, TopicSpec, further_clickstream_spec, is_topic_name, topic_specs
from streams.delivery.first_start import FirstStart, read_first_start
from streams.encodings.settings import EncodingSettings, OutputSettings, RegistrySettings
from streams.sessions.outcomes import OutcomeRules
from streams.sessions.rules import SessionRules
from streams.settings import StreamSettings

log = structlog.get_logger(__name__)

_FILE_VARIABLE = "INSESSION_CONFIG"
DEMO_SECRET = Secret("insession")
"""Known to everybody, so the worker warns where it is in use."""
MIN_SECRET_LENGTH = 16
_LONGEST_BLOCK = timedelta(days=36_500)
_LEAST_STALE_AFTER = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class ClickstreamSettings:
    """How the shop's events are read, and what is promised for each.

    sources: Further clickstreams: by full topic name a mapping of its own, as in
        `[clickstream.sources."shop.orders".paths]`. They have `topics.partitions` partitions, keyed alike.
    start: Where a worker begins on a partition of which its group has no commit: `earliest`, `latest`, or the time of
        the first record to read, RFC 3339. It is decided once, and committed before the first record is read.
    freshness_budget: From the record's timestamp to the answer; an older event gets a tier that does not wait. What
        every record is old when it comes, up to 5 s, is a skew of clocks and not counted.
    pseudonym_secret: Keys the hash that stands for a visitor on session ends; the same on all workers.
    """

    mapping: FieldMapping = field(default_factory=FieldMapping)
    sources: dict[str, FieldMapping] = field(default_factory=dict)
    start: str = "earliest"
    encoding: EncodingSettings = field(default_factory=EncodingSettings)
    freshness_budget: timedelta = timedelta(milliseconds=500)
    pseudonym_secret: Secret = DEMO_SECRET

    def __post_init__(self) -> None:
        """Refuse a budget that nothing meets, and a secret by which anybody could make the pseudonyms."""
        try:
            read_first_start(self.start)
        except ValueError as error:
            raise UsageError(f"clickstream.start: {error}") from error
        if self.freshness_budget <= timedelta(0):
            raise UsageError(f"clickstream.freshness_budget must be above 0, found {self.freshness_budget}")
        if self.pseudonym_secret != DEMO_SECRET and len(self.pseudonym_secret.reveal()) < MIN_SECRET_LENGTH:
            raise UsageError(
                f"clickstream.pseudonym_secret must have at least {MIN_SECRET_LENGTH} characters: openssl rand -hex 32"
            )

    @property
    def first_start(self) -> FirstStart:
        """Return `start` as what it means."""
        return read_first_start(self.start)


@dataclass(frozen=True, slots=True)
class CatalogSettings:
    """How the shop's items are read, and how far the worker relies on the catalog topic.

    require_catalog: Never recommend an item that the catalog topic does not describe.
    start_timeout: The worker begins without the whole catalog, or all merchants' rules, after this long, and says so;
        both are read at the same time. So does the observer, which then looks at no lists until it has the catalog.
    """

    mapping: CatalogMapping = field(default_factory=CatalogMapping)
    encoding: EncodingSettings = field(default_factory=EncodingSettings)
    require_catalog: bool = False
    start_timeout: timedelta = timedelta(seconds=30)

    def __post_init__(self) -> None:
        """Refuse a time that was over before it began."""
        if self.start_timeout < timedelta(0):
            raise UsageError(f"catalog.start_timeout must be at least 0, found {self.start_timeout}")


@dataclass(frozen=True, slots=True)
class TrendingSettings:
    """What the observer (`insession observer`) counts and publishes, and how long a worker believes it.

    max_items: Items counted at each place; with twice as many the least viewed ones go.
    max_places: Places counted; of more the least viewed ones go.
    publish_interval: How often the lists that have changed are written to `trending`.
    store_interval: How often the counts that have changed are written to `observer-state`; a new observer reads again
        what came after that.
    stale_after: With no record of `trending` for this long a worker goes on without: what is popular is that of the
        release, or of the stream.
    web_host: Address of the observer's pages `/metrics`, `/healthz` and `/readyz`.
    web_port: Port of the pages.
    """

    max_items: int = 2_000
    max_places: int = 256
    publish_interval: timedelta = timedelta(seconds=5)
    store_interval: timedelta = timedelta(seconds=30)
    stale_after: timedelta = timedelta(minutes=5)
    web_host: str = "127.0.0.1"
    web_port: int = 6069

    def __post_init__(self) -> None:
        """Refuse what counts nothing, and what is stale before it can be written."""
        for name in ("max_items", "max_places"):
            if getattr(self, name) < 1:
                raise UsageError(f"trending.{name} must be at least 1, found {getattr(self, name)}")
        for name in ("publish_interval", "store_interval"):
            if getattr(self, name) <= timedelta(0):
                raise UsageError(f"trending.{name} must be above 0, found {getattr(self, name)}")
        if self.stale_after < _LEAST_STALE_AFTER:
            raise UsageError(
                f"trending.stale_after must be at least {_LEAST_STALE_AFTER}, found {self.stale_after}: where nothing "
                "changes an observer writes once a minute"
            )
        if self.stale_after < 2 * self.publish_interval:
            raise UsageError(
                f"trending.stale_after must be at least twice trending.publish_interval, found {self.stale_after} and "
                f"{self.publish_interval}: lists would be stale before the next ones are there"
            )
        if not self.web_host.strip():  # it would listen on every address
            raise UsageError("trending.web_host must not be empty; 0.0.0.0 is every address")
        if not 1 <= self.web_port <= 65535:
            raise UsageError(f"trending.web_port must be from 1 to 65535, found {self.web_port}")


@dataclass(frozen=True, slots=True)
class HeaderSettings:
    """What output records carry beside their value; the caller's trace context always goes on.

    cloud_events: `carried` = outputs of an input that is a CloudEvent are CloudEvents; `always` = all are.
    event_source: Their `ce_source`; without one `insession/<topics.prefix>`.
    """

    cloud_events: CloudEventsMode = "carried"
    event_source: str | None = None


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Where spans go.

    endpoint: OTLP collector over gRPC, as in http://collector:4317; needs insession[tracing]. Without one, nowhere.
    sample_ratio: Of the inputs that bring no trace, the share that begins one; the caller's own decision is kept.
    """

    endpoint: str | None = None
    sample_ratio: float = 0.01

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        if not 0 <= self.sample_ratio <= 1:
            raise UsageError(f"tracing.sample_ratio must be from 0 to 1, found {self.sample_ratio}")
        if self.endpoint is not None and not self.endpoint.startswith(("http://", "https://")):
            raise UsageError(f"tracing.endpoint: {self.endpoint!r} is no URL, like http://127.0.0.1:4317")


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """Who may see the live page.

    token: Opens `/live`; without one the page is open on a loopback `kafka.web_host`, and shut on any other.
    """

    token: Secret | None = None

    def __post_init__(self) -> None:
        """Refuse a token that can be guessed."""
        if self.token is not None and len(self.token.reveal()) < MIN_SECRET_LENGTH:
            raise UsageError(f"live.token must have at least {MIN_SECRET_LENGTH} characters: openssl rand -hex 16")


@dataclass(frozen=True, slots=True)
class PrivacySettings:
    """What becomes of visitors who are erased (`insession erase`).

    block_erased: How long clicks of an erased id build no state again: they are answered as without consent. Make it
        longer than the clickstream, its mirrors and the dead letters are kept; 0 = the next click begins anew.
    """

    block_erased: timedelta = timedelta(days=35)

    def __post_init__(self) -> None:
        """Refuse what is no time from now."""
        if not timedelta(0) <= self.block_erased <= _LONGEST_BLOCK:
            raise UsageError(
                f"privacy.block_erased must be from 0 to {_LONGEST_BLOCK.days} days, found {self.block_erased}"
            )


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """What the daily loop is made of (`insession pipeline`); docs/pipeline.md explains it.

    source: Where the clicks are: `kafka://BROKERS/TOPIC`, or files, a path, glob or `s3://BUCKET/PREFIX` in which
        `{day}` stands for the day as in 2026-01-31.
    source_format: Of files: `parquet` with the columns of Spark's Kafka source, or `jsonl`.
    work: Folder of what the steps make; it must survive a restart, and one machine at a time works in it.
    models: Where the releases go: a directory of models, or a Bus.
    registry: MLflow registry of the releases, `sqlite:///FILE` or the address of a server; without one none.
    catalog: Catalog records, `kafka://BROKERS/TOPIC` or a file of JSON lines.
    item_vectors: Vectors of items, as `insession train` takes them.
    outcomes: Records of `recommendation-outcomes`, a topic as `kafka://BROKERS/TOPIC`: what shoppers did with the lists
        of the week that the day ends, for the check `metric_drift`.
    recommendations: Records of `recommendations`, likewise a topic: what was sent on the day, for the checks
        `integration` and `guardrails`.
    history_days: Days of clicks that sessions are made of, the last one included; it is the test, the others teach.
    min_sessions: Sessions of people that the day must have; with fewer the champion stays.
    exact_ticks: End sessions by ticks of each partition's time, as the stream does.
    sql: Folder of queries for `insession features`, instead of ours.
    preset: Of `insession train`; so are the next five.
    epochs: Planned ones; without a value those of the preset.
    time_budget: Of the training.
    input_events: Types whose items the model reads and predicts.
    workers: Processes that train, each on its share of every batch.
    max_restarts: Of all workers, when one dies or hangs.
    master: Where Spark runs.
    spark_conf: Configuration of Spark, NAME=VALUE.
    sign_key: File with the key that signs the releases; `serving.release_key` of the workers.
    shadow: How long a candidate is on trial as a shadow; 0s = not at all.
    shadow_answers: Records on `shadow-recommendations` that the trial must bring before a promotion.
    keep_days: Days of clicks that are kept, the newest.
    keep_runs: Days of which all that the steps made is kept, the newest.
    keep_releases: Releases without a part in the rollout that are kept where `models` says, the newest.
    web_host: Address of the page `/metrics` of `run --every-day-at` and of `watch`.
    web_port: Port of the page; 0 = none.
    """

    source: str | None = None
    source_format: Literal["parquet", "jsonl"] = "parquet"
    work: Path = Path("pipeline")
    models: str = "models"
    registry: str | None = None
    catalog: str | None = None
    item_vectors: str | None = None
    outcomes: str | None = None
    recommendations: str | None = None
    history_days: int = 30
    min_sessions: int = 500
    exact_ticks: bool = False
    sql: Path | None = None
    preset: str = "default"
    epochs: int | None = None
    time_budget: timedelta = timedelta(minutes=55)
    input_events: tuple[str, ...] = ("view",)
    workers: int = 1
    max_restarts: int = 5
    master: str = "local[*]"
    spark_conf: tuple[str, ...] = ()
    sign_key: Path | None = None
    shadow: timedelta = timedelta(0)
    shadow_answers: int = 1_000
    keep_days: int = 35
    keep_runs: int = 7
    keep_releases: int = 10
    web_host: str = "127.0.0.1"
    web_port: int = 6068

    def __post_init__(self) -> None:
        """Refuse what could not run, and what would remove what is needed."""
        least = {"history_days": 2, "min_sessions": 1, "workers": 1, "keep_runs": 1, "keep_releases": 1}
        least |= {"max_restarts": 0, "shadow_answers": 0, "keep_days": self.history_days}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                why = ", pipeline.history_days" if name == "keep_days" else ""
                raise UsageError(f"pipeline.{name} must be at least {bound}{why}, found {getattr(self, name)}")
        if self.shadow < timedelta(0) or self.time_budget <= timedelta(0):
            raise UsageError("pipeline.shadow must be at least 0, pipeline.time_budget above 0")
        if not self.web_host.strip():  # it would listen on every address
            raise UsageError("pipeline.web_host must not be empty; 0.0.0.0 is every address")
        if not 0 <= self.web_port <= 65535:
            raise UsageError(f"pipeline.web_port must be from 1 to 65535, or 0 for none, found {self.web_port}")


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """What holds for all connections of a deployment.

    require_tls: Refuse settings by which anything is sent in the clear: to brokers, model server, schema registry,
        token endpoint or collector.
    """

    require_tls: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a worker can be told; each section is defined by the room that uses it."""

    kafka: StreamSettings = field(default_factory=StreamSettings)
    topics: TopicSettings = field(default_factory=TopicSettings)
    clickstream: ClickstreamSettings = field(default_factory=ClickstreamSettings)
    sessions: SessionRules = field(default_factory=SessionRules)
    outcomes: OutcomeRules = field(default_factory=OutcomeRules)
    catalog: CatalogSettings = field(default_factory=CatalogSettings)
    locations: LocationSettings = field(default_factory=LocationSettings)
    trending: TrendingSettings = field(default_factory=TrendingSettings)
    registry: RegistrySettings = field(default_factory=RegistrySettings)
    outputs: OutputSettings = field(default_factory=OutputSettings)
    serving: ServingSettings = field(default_factory=ServingSettings)
    headers: HeaderSettings = field(default_factory=HeaderSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    live: LiveSettings = field(default_factory=LiveSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    security: TransportSettings = field(default_factory=TransportSettings)
    checks: CheckThresholds = field(default_factory=CheckThresholds)
    pipeline: PipelineSettings = field(default_factory=PipelineSettings)

    def __post_init__(self) -> None:
        """Refuse sections that contradict each other."""
        waiting = self.clickstream.freshness_budget + self.kafka.send_timeout
        if waiting >= self.kafka.rebalance_timeout:
            raise UsageError(
                f"clickstream.freshness_budget plus kafka.send_timeout ({waiting}) must be below "
                f"kafka.rebalance_timeout ({self.kafka.rebalance_timeout}): a revocation waits for answers and their "
                "acknowledgement"
            )
        if self.catalog.start_timeout >= self.kafka.stall_timeout:
            raise UsageError(
                f"catalog.start_timeout ({self.catalog.start_timeout}) must be below kafka.stall_timeout "
                f"({self.kafka.stall_timeout}), which ends a worker that waits for longer"
            )
        taken = {self.topics.name(topic) for topic in Topic}
        for name in self.clickstream.sources:
            if name in taken or not is_topic_name(name):
                why = "it is another topic already" if name in taken else "that is no topic name"
                raise UsageError(f"clickstream.sources {name!r}: {why}; give the full name of a topic of the shop's")
        if self.registry.patience >= self.kafka.stall_timeout:
            raise UsageError(
                f"registry.patience ({self.registry.patience}) must be below kafka.stall_timeout "
                f"({self.kafka.stall_timeout}), which ends a worker that waits for longer"
            )
        if self.security.require_tls and (in_the_clear := self._in_the_clear()):
            raise UsageError(f"security.require_tls is set, but there is no TLS: {'; '.join(in_the_clear)}")
        self.clickstream.encoding.check("clickstream.encoding", self.registry)
        self.catalog.encoding.check("catalog.encoding", self.registry)
        self.outputs.check(self.registry)

    def _in_the_clear(self) -> list[str]:
        """Return the settings by which something is sent unencrypted, with what to do."""
        found = []
        security = self.kafka.security
        if not security.uses_tls:
            found.append(f"kafka.security.protocol is {security.protocol!r}, make it ssl or sasl_ssl")
        if self.serving.tls.ca_file is None:
            found.append("serving.tls.ca_file is not set, give the certificate that vouches for the model server")
        urls = {
            "kafka.security.oauth.token_url": (security.oauth.token_url,),
            "registry.url": self.registry.urls,
            "tracing.endpoint": (self.tracing.endpoint,),
        }
        found += [
            f"{name} is {url}, make it https"
            for name, given in urls.items()
            for url in given
            if url is not None and not url.startswith("https://")
        ]
        return found

    @property
    def clickstreams(self) -> dict[str, FieldMapping]:
        """Return the mapping of every clickstream by its full name, the main one first."""
        return {self.topics.name(Topic.CLICKSTREAM): self.clickstream.mapping, **self.clickstream.sources}

    def topic_specs(self) -> list[TopicSpec]:
        """Return what all topics should be but the changelog."""
        further = (further_clickstream_spec(self.topics, name) for name in self.clickstream.sources)
        return [*topic_specs(self.topics), *further]


def load_settings(
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    file: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Read the settings; `overrides` (the command line's) win over everything.

    Raises UsageError that names every key that is wrong, and the file or variable that it is from.
    """
    return read_settings(overrides, file=file, environment=environment).valid()


def read_settings(
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    file: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Reading[Settings]:
    """Read the settings as `load_settings` does, with the origin of each and all that is wrong.

    Raises UsageError where the file cannot be read.
    """
    if file is None and environment.get(_FILE_VARIABLE):
        file = Path(environment[_FILE_VARIABLE])
    in_file: Iterable[Given] = () if file is None else from_file(file)
    in_environment = from_environment(environment, section_of(Settings))
    return read(Settings, chain(in_file, in_environment, from_options(overrides or {})))


def report_settings(settings: Settings) -> None:
    """Log what is in force, an event a section, without secrets; warn where one of them is no secret."""
    for section in section_of(Settings).walk():
        values = {key.path[-1]: plain(value_of(settings, key)) for key in section.keys if key.secret_key is None}
        if values:
            log.info("settings", section=section.name, values=values)
    for warning in warnings_of(settings):
        log.warning("insecure_setting", detail=warning)


def warnings_of(settings: Settings) -> list[str]:
    """Return what is allowed and yet unwise in production."""
    found = []
    if settings.clickstream.pseudonym_secret == DEMO_SECRET:
        found.append(
            "clickstream.pseudonym_secret is the published default, so pseudonyms can be guessed: set it alike on all "
            "workers (INSESSION_CLICKSTREAM__PSEUDONYM_SECRET, or ..._SECRET_FILE)"
        )
    security = settings.kafka.security
    if security.mechanism in {"PLAIN", "OAUTHBEARER"} and not security.uses_tls:
        what = "password" if security.mechanism == "PLAIN" else "token"
        found.append(
            f"kafka.security.mechanism {security.mechanism} sends the {what} as it is: make kafka.security.protocol "
            "sasl_ssl"
        )
    if not security.verify_hostname:
        found.append(
            "kafka.security.verify_hostname is false, so any certificate that the CA has signed passes for a broker's: "
            "let the brokers' certificates name their addresses, and take the key away"
        )
    return found
