from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from agents.settings import Settings, load_settings
from agents.worker.input_check import checked_inputs
from streams.cluster.topic_watch import TopicWatch
from streams.cluster.topics import TopicsError
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
