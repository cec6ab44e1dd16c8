"""Asking brokers again that are not ready to answer yet: a topic or group that is new has no leader for a moment."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException

Answer = TypeVar("Answer")

_RETRY_SECONDS: Final = 0.2
NOT_YET: Final = frozenset(
    {
        # The first question about any group makes a new cluster create its offsets topic, and is refused.
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
        # A partition that was just made, or moves to another broker; one that does not know it yet may be asked, too.
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.FENCED_LEADER_EPOCH,  # we know of an older leader than the broker,
        KafkaError.UNKNOWN_LEADER_EPOCH,  # or of a newer one
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.KAFKA_STORAGE_ERROR,
        # librdkafka says the same of what it has heard so far: a broker that is just back does not tell of all at once.
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - a public code, spelled like that
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - as above
        KafkaError._WAIT_COORD,  # noqa: SLF001 - as above
    }
)


def asked_again(ask: Callable[[], Answer], timeout_seconds: float) -> Answer:
    """Call `ask` until it answers, for as long as the brokers say that they cannot yet; raises what it raised last."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in NOT_YET or time.monotonic() > deadline:
                raise
        time.sleep(_RETRY_SECONDS)


def looked_again(look: Callable[[], Answer], is_enough: Callable[[Answer], bool], timeout_seconds: float) -> Answer:
    """Look until it is enough, or the time is over; return what was seen last.

    Of what is new each broker hears at another moment, and any of them may be asked.
    """
    deadline = time.monotonic() + timeout_seconds
    while not is_enough(seen := look()) and time.monotonic() < deadline:
        time.sleep(_RETRY_SECONDS)
    return seen
