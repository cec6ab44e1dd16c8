from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from agents.settings import Settings, load_settings
from agents.worker import input_check
from agents.worker.input_check import checked_inputs
from streams.cluster.topic_check import TopicProblem, layout_problem
from streams.cluster.topic_watch import SeenTopic, TopicWatch
from streams.cluster.topics import TopicsError, TopicSpec
from streams.metrics import DeliveryMetrics


class AbortingApp:
    """An app that notes why it was aborted."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def abort(self, error: BaseException) -> None:
        """Note it, and go on."""
        self.errors.append(error)


async def errors_of(settings: Settings) -> list[BaseException]:
    """Let a worker of these settings check its topics; no id is known after it."""
    app: Any = AbortingApp()
    ids: dict[str, int] = {}
    watch = TopicWatch(settings.clickstreams, DeliveryMetrics(CollectorRegistry()), app.abort)
    async with checked_inputs(app, settings, ids, watch):
        assert ids == {}
    return list(app.errors)


async def test_brokers_that_do_not_answer_stop_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the worker subscribes it is aborted with the message."""
    monkeypatch.setattr("streams.cluster.topics._TIMEOUT_SECONDS", 0.2)
    settings = load_settings({"kafka": {"brokers": "127.0.0.1:1", "datadir": str(tmp_path)}}, environment={})
    (error,) = await errors_of(settings)
    assert isinstance(error, TopicsError)
    assert "did not answer" in str(error)


async def test_the_embedded_broker_is_not_asked(tmp_path: Path) -> None:
    """It can neither describe nor recreate a topic."""
    kafka = {"brokers": "127.0.0.1:1", "datadir": str(tmp_path), "is_mock_broker": True}
    assert await errors_of(load_settings({"kafka": kafka}, environment={})) == []


class Brokers:
    """heard: whether each of those that are asked after a topic was made has heard of it; all later ones have."""

    def __init__(self, heard: Sequence[bool]) -> None:
        self._heard = iter(heard)
        self.made: list[str] = []

    def create(self, _: object, specs: Sequence[TopicSpec]) -> None:
        """Make topics."""
        self.made += [spec.name for spec in specs]

    def check(self, _: object, specs: Sequence[TopicSpec]) -> list[TopicProblem]:
        """Find what is not shown."""
        shown = self.seen_topics(None, [spec.name for spec in specs])
        problems = (layout_problem(spec, spec.partitions if shown[spec.name] else None) for spec in specs)
        return [problem for problem in problems if problem is not None]

    def seen_topics(self, _: object, names: Sequence[str]) -> dict[str, SeenTopic | None]:
        """Describe topics."""
        is_shown = not self.made or next(self._heard, True)
        return {name: SeenTopic(1, 8) if is_shown or name not in self.made else None for name in names}


@pytest.mark.parametrize("heard", [[], [False], [False, False], [True, False], [False, True, False, False]])
def test_a_broker_that_has_not_heard_of_the_new_changelog_stops_no_worker(
    heard: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that made it has; whichever is asked next may not."""
    brokers = Brokers(heard)
    monkeypatch.setattr(input_check, "admin_client", lambda _: None)
    for name in ("create", "check", "seen_topics"):
        monkeypatch.setattr(input_check, name, getattr(brokers, name))
    monkeypatch.setattr("streams.cluster.patience._RETRY_SECONDS", 0.0)
    seen = input_check.check_topics(load_settings(environment={}))
    assert [seen[name] for name in brokers.made] == [SeenTopic(1, 8)]
