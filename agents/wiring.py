"""What a worker, a replay, a repartition and batch inference build alike from the settings."""

from collections.abc import Callable, Collection, Iterable

from prometheus_client import CollectorRegistry

from agents.clicks.output_headers import OutputHeaders
from agents.clicks.pipeline import PipelineSettings
from agents.encodings import click_readers
from agents.settings import Settings
from schemas import wire
from schemas.records import CatalogItem
from schemas.rules import MerchantRule
from serving.rules.view import RuleMetrics, RuleView
from session_model.intent.patterns import pattern_of
from streams.catalog import Catalog
from streams.cluster.topics import Topic
from streams.sessions.identity import Identities
from streams.sessions.sessionizer import InputTopics, Sessionizer


def session_rules(settings: Settings) -> Sessionizer:
    """Build the session rules over the deployment's input topics."""
    return Sessionizer(settings.sessions, _input_topics(settings))


def _input_topics(settings: Settings) -> InputTopics:
    return InputTopics(
        clickstream=settings.topics.name(Topic.CLICKSTREAM),
        control=settings.topics.name(Topic.SESSION_CONTROL),
        clickstream_window=settings.kafka.window_span,
        control_window=settings.kafka.control_window_span,
    )


def pipeline_settings(settings: Settings, deadline: Callable[[int], float]) -> PipelineSettings:
    """Pick what the pipeline needs; all of a replay, which reads and writes JSON in files."""
    return PipelineSettings(
        topics=settings.topics,
        readers=click_readers(settings, None),
        pseudonym_key=settings.clickstream.pseudonym_secret.reveal().encode(),
        deadline=deadline,
        pattern=pattern_of,
        identities=Identities(settings.sessions, _input_topics(settings)),
        headers=output_headers(settings),
        outcomes=settings.outcomes,
    )


def output_headers(settings: Settings) -> OutputHeaders:
    """Pick what the headers of all outputs say."""
    prefix = settings.topics.prefix.rstrip("-._")
    source = settings.headers.event_source or (f"insession/{prefix}" if prefix else "insession")
    is_json = settings.outputs.encoding == "json"
    return OutputHeaders(settings.headers.cloud_events, source, "application/json" if is_json else "application/avro")


def described_rules(settings: Settings, rules: Iterable[MerchantRule]) -> RuleView:
    """Hold rules that are the same from beginning to end; each by its own times."""
    view = RuleView(RuleMetrics(CollectorRegistry()), settings.locations)
    for rule in rules:
        view.apply(rule.rule_id.encode(), wire.encode(rule))
    return view


def described_catalog(settings: Settings, records: Collection[CatalogItem]) -> Catalog:
    """Build the catalog of what `records` say once for all; without them every item is allowed."""
    catalog = Catalog(require_catalog=settings.catalog.require_catalog and bool(records), places=settings.locations)
    for item in records:
        catalog.apply(item.item_id.encode(), wire.encode(item))
    return catalog
