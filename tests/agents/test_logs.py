import json
import logging
from typing import Any

import pytest
import structlog

from agents.logs import configure_logs


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Read stderr as JSON lines."""
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_our_lines_are_json_with_name_level_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    """Each is one JSON object on stderr, its values as keys."""
    configure_logs()
    structlog.get_logger("streams.compacted_view").warning("view_topic_missing", topic="catalog")
    (line,) = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "view_topic_missing",
        "topic": "catalog",
        "level": "warning",
        "logger": "streams.compacted_view",
    }


def test_libraries_are_json_too_from_warning_on(capsys: pytest.CaptureFixture[str]) -> None:
    """A library's warning is a line as ours; its chatter is none."""
    configure_logs("DEBUG")
    logging.getLogger("aiokafka").info("chatter")
    logging.getLogger("aiokafka").warning("lost %s", "broker")
    (line,) = lines(capsys)
    assert (line["event"], line["level"], line["logger"]) == ("lost broker", "warning", "aiokafka")


@pytest.mark.parametrize(("level", "count"), [("DEBUG", 3), ("INFO", 2), ("WARNING", 1)])
def test_the_level_is_that_of_our_rooms(capsys: pytest.CaptureFixture[str], level: str, count: int) -> None:
    """What is below the level is not written."""
    configure_logs(level)
    log = structlog.get_logger("agents.clicks.actor")
    log.debug("a")
    log.info("b")
    log.warning("c")
    assert len(lines(capsys)) == count


def test_a_traceback_is_inside_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """An exception does not break the line format."""
    configure_logs()
    try:
        int("broken")
    except ValueError:
        structlog.get_logger("agents.clicks.pipeline").exception("decision_failed")
    (line,) = lines(capsys)
    assert "ValueError: invalid literal" in line["exception"]


def test_a_password_in_an_address_is_masked_in_any_line(capsys: pytest.CaptureFixture[str]) -> None:
    """In a value of ours, and in a library's message."""
    configure_logs()
    structlog.get_logger("agents.clicks.tracing").warning("export_failed", endpoint="https://u:geheim@collector:4317")
    logging.getLogger("urllib3").warning("retrying %s", "https://u:geheim@collector:4317")
    written = lines(capsys)
    assert len(written) == 2
    assert "geheim" not in str(written)
