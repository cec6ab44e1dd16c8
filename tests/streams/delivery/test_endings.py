import errno
import os
import resource
from pathlib import Path

import pytest
from aiokafka import errors as kafka
from confluent_kafka import KafkaError, KafkaException
from faust.exceptions import ConsistencyError

from schemas.errors import InsessionError
from streams.delivery.endings import ENDINGS, UNEXPECTED, explained


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x"), ["/data/x", "free some space"]),
        (Exception("IO error: No space left on device: While appending: /data/1.log"), ["/data/1.log", "free some"]),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "/data/x"), ["/data/x", "right to write"]),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), ["Too many open files", "ulimit -n"]),
        (OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)), ["in use", "kafka.web_port"]),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), ["refused", "there and answers"]),
        (MemoryError(), ["no memory left", "memory limit"]),
        (ConsistencyError("Persisted offset 9"), ["ahead of the changelog", "empty kafka.datadir"]),
        (kafka.InconsistentGroupProtocolError(), ["no insession workers", "another application"]),
        (kafka.NotLeaderForPartitionError(), ["leader has changed", "brokers are up"]),
        (kafka.TopicAuthorizationFailedError({"t"}), ["let this user", "docs/security.md"]),
        (kafka.GroupAuthorizationFailedError("g"), ["let this user", "docs/security.md"]),
        (kafka.MessageSizeTooLargeError(), ["larger than the topic takes", "max.message.bytes"]),
        (kafka.UnknownTopicOrPartitionError(), ["not there", "insession topics check"]),
        (kafka.KafkaConnectionError("no node"), ["do not answer", "no node", "kafka.brokers"]),
        (kafka.UnknownError(), ["Kafka client has failed", "log of the brokers"]),
        (KafkaException(KafkaError(KafkaError._TRANSPORT)), ["did not answer", "kafka.brokers"]),
        (InsessionError("what: do this"), ["what: do this"]),
        (ValueError("odd\nthing"), ["ValueError", UNEXPECTED]),
    ],
)
def test_an_error_says_in_one_line_what_to_do(error: BaseException, words: list[str]) -> None:
    """Whatever ends a process: what happened, to what, and the remedy."""
    told = explained(error)
    assert all(word in told for word in words), told
    assert "\n" not in told


def test_what_is_behind_an_error_counts_where_it_says_nothing_itself() -> None:
    """Libraries wrap: the cause has the remedy, and a message of ours is taken as it is."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x")
    wrapped = RuntimeError("could not start")
    wrapped.__cause__ = full
    assert explained(wrapped) == explained(full)
    ours = InsessionError("mine")
    ours.__cause__ = full
    assert explained(ours) == "mine"


def test_an_error_that_is_its_own_cause_comes_to_an_end() -> None:
    """A ring of errors is gone round once."""
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert UNEXPECTED in explained(first)


def test_every_ending_has_a_remedy() -> None:
    """And names what it is about."""
    assert all(ending.cause and ending.remedy and (ending.errors or ending.numbers) for ending in ENDINGS)


def test_an_error_for_want_of_file_handles_says_so() -> None:
    """The Kafka client only says that it cannot connect."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    next_number = os.dup(0)
    os.close(next_number)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_number, hard))
    try:
        told = explained(kafka.KafkaConnectionError("Unable to bootstrap"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "Too many open files" in told
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files
