import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from agents.clicks.pipeline import Pipeline, PipelineSettings
from agents.clicks.step import Step
from agents.clicks.visitor_states import MemoryStore, VisitorStates
from agents.serving_tier import serving_tier
from schemas import wire
from schemas.click_reader import ClickReader
from schemas.events import ClickEvent
from schemas.mapping import FieldMapping
from schemas.rules import MerchantRule
from schemas.state import InputPosition
from serving.rules.view import RuleMetrics, RuleView
from serving.settings import ServingSettings
from session_model.intent.patterns import pattern_of
from streams.catalog import Catalog
from streams.cluster.topics import TopicSettings
from streams.metrics import DeliveryMetrics
from streams.records import InputRecord, OutputRecord
from streams.sessions.identity import Identities
from streams.sessions.rules import SessionRules
from streams.sessions.sessionizer import InputTopics, Sessionizer

START_MS = 1_700_000_000_000


class OneWorker:
    """A pipeline without Kafka and without a release: records go in, states lie in memory, records come out."""

    def __init__(self, models: Path, rules: SessionRules) -> None:
        self.registry = CollectorRegistry()
        self.metrics = DeliveryMetrics(self.registry)
        self.catalog = Catalog()
        topics = InputTopics("clickstream", "session-control")
        serving = ServingSettings(models_directory=models)
        self.rules = RuleView(RuleMetrics(self.registry))
        tier = serving_tier(serving, self.catalog, self.registry, copies=models / "copies", rules=self.rules)
        self.recommender = tier.recommender
        settings = PipelineSettings(
            topics=TopicSettings(),
            readers={
                "clickstream": ClickReader(FieldMapping()),
                "orders": ClickReader(FieldMapping(paths={"item_id": "sku"}, constants={"event_type": "purchase"})),
            },
            pseudonym_key=b"secret",
            deadline=lambda _: math.inf,
            pattern=pattern_of,
            identities=Identities(rules, topics),
        )
        sessionizer = Sessionizer(rules, topics)
        self.pipeline = Pipeline(settings, sessionizer, self.recommender, self.metrics)
        self.store = MemoryStore()
        self.states = VisitorStates(self.store, self.metrics)
        self.states.open_partition(0, ())
        self.offset = 0
        self.topic_id = 0

    async def feed(
        self,
        key: bytes | None,
        value: bytes | None,
        *,
        offset: int | None = None,
        time_ms: int = START_MS,
        topic: str = "clickstream",
    ) -> list[OutputRecord]:
        """Take one record through the pipeline, and write its state."""
        return list(await self._step(key, value, offset=offset, time_ms=time_ms, topic=topic).answer())

    async def click(
        self, visitor: str, at_ms: int = 0, event_type: str = "view", *, offset: int | None = None, **fields: Any
    ) -> list[OutputRecord]:
        """Feed a valid click; without an item_id it is of item `i{at_ms}`."""
        return list(await self.decide(visitor, at_ms, event_type, offset=offset, **fields).answer())

    def decide(
        self, visitor: str, at_ms: int = 0, event_type: str = "view", *, offset: int | None = None, **fields: Any
    ) -> Step:
        """Decide on a valid click and write its state; the answer is left to be asked for."""
        fields = {"item_id": f"i{at_ms}"} | fields
        event = ClickEvent(visitor_id=visitor, event_type=event_type, event_time=START_MS + at_ms, **fields)  # type: ignore[arg-type]
        return self._step(visitor.encode(), wire.encode(event), offset=offset, time_ms=START_MS + at_ms)

    def _step(
        self, key: bytes | None, value: bytes | None, *, offset: int | None, time_ms: int, topic: str = "clickstream"
    ) -> Step:
        position = InputPosition(topic, 0, self.offset if offset is None else offset, self.topic_id)
        self.offset = max(self.offset, position.offset + 1)
        step = self.pipeline.click(InputRecord(position, key, value, time_ms, [("h", b"1")]), self.states)
        if step.write is not None:
            self.states.write(0, step.write)
        return step

    def put(self, rule_id: str, action: str, **fields: Any) -> None:
        """Let a merchants' rule hold, instead of the one of that name."""
        rule = {"rule_id": rule_id, "action": action, **fields}
        assert isinstance(self.rules.apply(rule_id.encode(), msgspec.json.encode(rule)), MerchantRule)

    def count(self, metric: str, **labels: str) -> float:
        """Read a metric."""
        return self.registry.get_sample_value(metric, labels) or 0.0


@pytest.fixture
def worker_of(tmp_path: Path) -> Callable[..., OneWorker]:
    """Make a worker with given session rules."""
    return lambda **rules: OneWorker(tmp_path / "models" / "session_gru", SessionRules(**rules))


@pytest.fixture
def worker(worker_of: Callable[..., OneWorker]) -> OneWorker:
    """Make a worker with the default rules."""
    return worker_of()
