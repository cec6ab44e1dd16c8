import itertools
from typing import NoReturn

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.cluster.patience import asked_again, looked_again


class Brokers:
    """Brokers that refuse the first questions with these codes, then answer."""

    def __init__(self, *codes: int) -> None:
        self._codes = iter(codes)
        self.asked = 0

    def ask(self) -> str:
        """Answer, or refuse."""
        self.asked += 1
        for code in self._codes:
            raise KafkaException(KafkaError(code))
        return "answer"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing."""
    monkeypatch.setattr("streams.cluster.patience._RETRY_SECONDS", 0.0)


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._WAIT_COORD,
    ],
)
def test_brokers_that_are_not_ready_yet_are_asked_again(code: int) -> None:
    """A changelog that a worker has just made has no leader for a moment: that ends no worker."""
    brokers = Brokers(code, code)
    assert (asked_again(brokers.ask, 60.0), brokers.asked) == ("answer", 3)


def test_what_no_waiting_mends_is_raised_at_once() -> None:
    """Rights that are missing, for one."""
    brokers = Brokers(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException):
        asked_again(brokers.ask, 60.0)
    assert brokers.asked == 1


def test_patience_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the last refusal is raised."""
    moments = itertools.count(0.0, 10.0)
    monkeypatch.setattr("streams.cluster.patience.time.monotonic", lambda: next(moments))

    def refuse() -> NoReturn:
        raise KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION))

    with pytest.raises(KafkaException):
        asked_again(refuse, 35.0)


def test_what_is_new_is_looked_for_until_it_is_there() -> None:
    """One broker has heard of it, the next one not yet."""
    looks = iter([["changelog"], [], ["changelog", "ledger"], []])
    assert looked_again(lambda: next(looks), lambda found: len(found) == 2, 60.0) == ["changelog", "ledger"]


def test_what_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then what was seen last is what there is."""
    moments = itertools.count(0.0, 10.0)
    monkeypatch.setattr("streams.cluster.patience.time.monotonic", lambda: next(moments))
    looks = itertools.count()
    assert looked_again(lambda: next(looks), lambda _: False, 35.0) == 3
