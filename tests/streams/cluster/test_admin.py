import time

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.cluster.admin import ClusterAdmin, explained
from streams.local.embedded_broker import EmbeddedBroker

NOBODY = {"bootstrap.servers": "127.0.0.1:1"}


def test_the_reason_is_the_connections_and_not_that_time_is_over() -> None:
    """Where nobody listens, that is what the error says."""
    with pytest.raises(KafkaException, match="Connection refused"):
        ClusterAdmin(NOBODY).list_topics(timeout=2)


def test_listing_ends_when_its_time_is_over() -> None:
    """A cluster that does not answer is asked for as long as the caller waits, and no longer."""
    began = time.monotonic()
    with pytest.raises(KafkaException):
        ClusterAdmin(NOBODY).list_topics(timeout=1.5)
    assert 1.4 < time.monotonic() - began < 15


def test_a_cluster_that_answers_is_listed() -> None:
    """With and without the name of a topic."""
    with EmbeddedBroker() as broker:
        admin = ClusterAdmin({"bootstrap.servers": broker.address})
        assert admin.list_topics(timeout=10).brokers
        assert list(admin.list_topics("one", timeout=10).topics) == ["one"]


@pytest.mark.parametrize(
    ("code", "start", "key"),
    [
        (KafkaError._AUTHENTICATION, "The brokers refused the user: why. ", "kafka.security.password"),
        (KafkaError._SSL, "TLS to the brokers failed: why. ", "kafka.security.ca_file"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "The brokers do not let this user do it: why. ", "docs/security.md"),
        (KafkaError.POLICY_VIOLATION, "The brokers refused it: why. ", "logs"),
        (KafkaError._TRANSPORT, "The brokers did not answer: why. ", "kafka.security.protocol"),
    ],
)
def test_an_explanation_names_the_setting_to_look_at(code: int, start: str, key: str) -> None:
    """Each kind of failure has its own remedy."""
    text = explained(KafkaException(KafkaError(code, "why")))
    assert text.startswith(start)
    assert key in text
