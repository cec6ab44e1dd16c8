from pathlib import Path
from typing import Any

import pytest

from agents.input_check import checked_inputs, compare_topic_ids
from agents.settings import load_settings
from schemas.errors import InsessionError
from streams.strict import TopicChangedError
from streams.topics import TopicsError


class AbortingApp:
    """An app that notes why it was aborted."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def abort(self, error: BaseException) -> None:
        """Note it, and go on."""
        self.errors.append(error)


def test_ids_that_are_the_same_pass(tmp_path: Path) -> None:
    """The ids are noted at the first start, in a folder that need not exist, and compared at the next."""
    for ids in ({"clicks": "a"}, {"clicks": "a", "control": "b"}, {"clicks": "a", "control": "b"}):
        compare_topic_ids(tmp_path / "data", ids)


@pytest.mark.parametrize("start", [{"clicks": "new"}, {"control": "c", "clicks": "new"}])
def test_a_topic_made_anew_stops_the_worker(tmp_path: Path, start: dict[str, str]) -> None:
    """The message names topic and remedy, and the ids of the state are kept: the next start is refused as well."""
    compare_topic_ids(tmp_path, {"clicks": "old"})
    for _ in range(2):
        with pytest.raises(TopicChangedError, match=r"topic clicks was deleted and made anew.*empty kafka\.datadir"):
            compare_topic_ids(tmp_path, start)


def test_an_empty_datadir_accepts_another_topic(tmp_path: Path) -> None:
    """State that is not there belongs to no topic."""
    compare_topic_ids(tmp_path / "a", {"clicks": "old"})
    compare_topic_ids(tmp_path / "b", {"clicks": "new"})


@pytest.mark.parametrize("content", ["", '{"clicks": ', "[]", '{"clicks": 1}'])
def test_a_damaged_note_is_one_message(tmp_path: Path, content: str) -> None:
    """The message names the file and what to do."""
    (tmp_path / "topic-ids.json").write_text(content)
    with pytest.raises(InsessionError, match=r"topic-ids\.json cannot be read.*delete it"):
        compare_topic_ids(tmp_path, {"clicks": "a"})


async def test_brokers_that_do_not_answer_stop_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the worker subscribes it is aborted with the message."""
    monkeypatch.setattr("streams.topics._TIMEOUT_SECONDS", 0.2)
    app: Any = AbortingApp()
    settings = load_settings({"kafka": {"brokers": "127.0.0.1:1", "datadir": str(tmp_path)}}, environment={})
    async with checked_inputs(app, settings):
        pass
    (error,) = app.errors
    assert isinstance(error, TopicsError)
    assert "did not answer" in str(error)


async def test_the_embedded_broker_is_not_asked(tmp_path: Path) -> None:
    """It can neither describe nor recreate a topic."""
    app: Any = AbortingApp()
    kafka = {"brokers": "127.0.0.1:1", "datadir": str(tmp_path), "is_mock_broker": True}
    async with checked_inputs(app, load_settings({"kafka": kafka}, environment={})):
        pass
    assert app.errors == []
