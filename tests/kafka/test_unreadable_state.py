import signal

import pytest

from streams.cluster.topics import Topic, changelog_name
from tests.builders.clicks import click
from tests.kafka.deployment import NO_TICKS, Deploy, NewRecord
from tests.kafka.ledger import error_headers, last_values

pytestmark = pytest.mark.kafka

GARBAGE = b"\x01" + bytes(17) + b"\xc1garbage"


def test_one_unreadable_state_in_the_changelog_is_put_aside(deploy: Deploy) -> None:
    """A worker with an empty folder recovers it, dead-letters it at the visitor's click and goes on."""
    deployment = deploy(partitions=1, **NO_TICKS)
    visitors = [f"v{number}" for number in range(20)]
    deployment.write(Topic.CLICKSTREAM, [click(visitor) for visitor in visitors])
    first = deployment.worker()
    deployment.wait_until_committed(first)
    assert first.end(signal.SIGTERM) == 0
    changelog = changelog_name(deployment.settings.kafka, deployment.settings.topics)
    deployment.write(changelog, [NewRecord(b"v2", GARBAGE, partition=0)])
    second = deployment.worker("b")
    deployment.write(Topic.CLICKSTREAM, [click(visitor) for visitor in visitors])
    deployment.wait_until_committed(second)
    assert second.metric("insession_states_quarantined_total") == 1
    assert second.end(signal.SIGTERM) == 0
    ledger = deployment.ledger()
    assert [record.status for record in ledger.recommendations] == ["answered"] * 40
    (letter,) = ledger.dead_letters()
    assert (letter.key, letter.value) == (b"v2", GARBAGE)
    assert error_headers(letter)["reason"] == "unreadable_state"
    assert "v2" not in next(line for line in second.log_text().splitlines() if "state_unreadable" in line)


def test_many_unreadable_states_are_left_where_they_are(deploy: Deploy) -> None:
    """The worker ends with what to do, at each start, and neither table nor changelog lose a state."""
    deployment = deploy(partitions=1, **NO_TICKS)
    first = deployment.worker()
    first.wait_until_ready()
    assert first.end(signal.SIGTERM) == 0
    changelog = changelog_name(deployment.settings.kafka, deployment.settings.topics)
    deployment.write(changelog, [NewRecord(b"v%d" % number, GARBAGE, partition=0) for number in range(20)])
    deployment.write(Topic.CLICKSTREAM, [click("v1")])
    for name in ("a", "a", "b"):
        worker = deployment.worker(name)
        assert worker.wait() == 1
        assert "insession: 20 of 20 states of" in worker.log_text()
    found = last_values(deployment.reader.read(changelog))
    assert (len(found), set(found.values())) == (20, {GARBAGE})
