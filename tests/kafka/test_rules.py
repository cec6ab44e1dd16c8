"""Merchants' rules on a real broker: put by the command line, obeyed by a worker, refused where they cannot be read."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from agents.commands.rules import command
from schemas import wire
from schemas.records import RecommendationSet
from streams.cluster.topics import Topic
from tests.builders.clicks import click
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment, NewRecord

pytestmark = pytest.mark.kafka


class Shop:
    """A worker, its rules, and visitors of whom each clicks once."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        self._deployment = deployment
        self._folder = folder
        self._visitors = 0
        self.worker = deployment.worker()
        self.worker.wait_until_ready()

    def rules(self, *arguments: str) -> None:
        """Run `insession rules`."""
        settings = self._deployment.settings
        where = ["--brokers", settings.kafka.brokers, "--prefix", settings.topics.prefix]
        told = CliRunner().invoke(command, [*arguments, *where], catch_exceptions=False)
        assert told.exit_code == 0, told.output

    def put(self, rule_id: str, action: str, **fields: object) -> None:
        """Put a rule."""
        path = self._folder / "rule.json"
        path.write_text(json.dumps({"rule_id": rule_id, "action": action, **fields}))
        self.rules("put", str(path))

    def answer(self) -> RecommendationSet:
        """Let a new visitor click, and read the answer."""
        self._visitors += 1
        visitor = f"v{self._visitors}"
        self._deployment.write(Topic.CLICKSTREAM, [click(visitor, item_id=f"i{self._visitors % 3}")])
        found: dict[str, RecommendationSet] = {}

        def is_there() -> bool:
            for record in self._deployment.reader.read(self._deployment.settings.topics.name(Topic.RECOMMENDATIONS)):
                answer = wire.decode_recommendation_set(record.value or b"")
                found[answer.visitor_id] = answer
            return visitor in found

        self.worker.wait_until(is_there, "it answered")
        return found[visitor]

    def wait_until(self, is_so: Callable[[RecommendationSet], bool], what: str) -> None:
        """Let visitors click until an answer is so."""
        self.worker.wait_until(lambda: is_so(self.answer()), what)


def test_a_worker_obeys_what_is_put_and_keeps_the_last_good_record(deploy: Deploy, tmp_path: Path) -> None:
    """From the command line to the answers; a record that cannot be read changes nothing and is counted."""
    deployment = deploy(partitions=1, **NO_TICKS)
    shop = Shop(deployment, tmp_path)
    for _ in range(4):
        shop.answer()
    shop.put("spring", "pin", items=["sofa"], position=1)
    shop.wait_until(lambda answer: answer.rules == ["spring"], "it obeys")
    assert shop.answer().items[0].item_id == "sofa"
    deployment.write(Topic.MERCHANT_RULES, [NewRecord(b"spring", b'{"rule_id": "spring", "action": "hide"}')])
    shop.worker.wait_until(lambda: shop.worker.metric("insession_rules_refused") == 1, "it refused the record")
    assert shop.worker.metric("insession_rules_in_force") == 1
    assert shop.answer().rules == ["spring"]
    shop.put("spring", "block", items=["i0"])
    shop.wait_until(lambda answer: answer.rules == ["spring"] and answer.items[0].rule is None, "it obeys the new one")
    assert shop.worker.metric("insession_rules_refused") == 0
    shop.rules("remove", "spring")
    shop.wait_until(lambda answer: answer.rules is None, "it forgot the rule")


def test_a_worker_that_starts_has_all_rules_before_its_first_answer(deploy: Deploy, tmp_path: Path) -> None:
    """It subscribes to clicks when its view of them is complete."""
    deployment = deploy(partitions=1, **NO_TICKS)
    value = json.dumps({"rule_id": "r", "action": "pin", "items": ["sofa"], "position": 1}).encode()
    deployment.write(Topic.MERCHANT_RULES, [NewRecord(b"r", value)])
    shop = Shop(deployment, tmp_path)
    shop.answer()
    assert shop.answer().rules == ["r"]
