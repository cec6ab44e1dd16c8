"""What the errors of the machine and of the Kafka client that end a process mean, and what to do.

One table for all of them; `agents/worker/exits.py` has it in the list of every way in which a command ends.
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from aiokafka import errors as kafka
from confluent_kafka import KafkaException
from faust.exceptions import ConsistencyError

from schemas.errors import InsessionError
from streams.cluster.admin import explained as explained_by_librdkafka


@dataclass(frozen=True, slots=True)
class Ending:
    """Errors that ask for the same remedy. numbers: of the operating system; errors: classes.

    meaning: where the error itself does not say what it is.
    """

    cause: str
    remedy: str
    errors: tuple[type[BaseException], ...] = ()
    numbers: frozenset[int] = frozenset()
    meaning: str = ""

    def fits(self, error: BaseException) -> bool:
        """Return whether the error is one of these; RocksDB's have the operating system's words only."""
        if isinstance(error, self.errors) or (isinstance(error, OSError) and error.errno in self.numbers):
            return True
        return type(error) is Exception and any(os.strerror(number) in str(error) for number in self.numbers)


ENDINGS: Final[tuple[Ending, ...]] = (
    Ending(
        "the disk is full",
        "free some space, or move kafka.datadir to a larger disk, and start again; nothing that was acknowledged is "
        "lost",
        numbers=frozenset({errno.ENOSPC, errno.EDQUOT}),
    ),
    Ending(
        "no rights, or a read-only disk",
        "give the worker's user the right to write there, or set kafka.datadir to a folder of its own",
        numbers=frozenset({errno.EACCES, errno.EPERM, errno.EROFS}),
    ),
    Ending(
        "a wrong folder",
        "check the path in the settings (`insession config show`): it must be a folder, or one that can be made",
        numbers=frozenset({errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}),
    ),
    Ending(
        "no more file handles",
        "raise the limit of open files (`ulimit -n`, LimitNOFILE, the container's ulimits); a worker needs about 10 a "
        "partition and one a connection",
        numbers=frozenset({errno.EMFILE, errno.ENFILE}),
    ),
    Ending(
        "the port is taken",
        "set kafka.web_port to a free one, or end what holds it",
        numbers=frozenset({errno.EADDRINUSE}),
    ),
    Ending(
        "no more memory",
        "raise the memory limit, or give the worker fewer partitions and smaller caches (kafka.rocksdb_cache_bytes)",
        errors=(MemoryError,),
        numbers=frozenset({errno.ENOMEM}),
        meaning="the process has no memory left",
    ),
    Ending(
        "local state ahead of its changelog",
        "restore the changelog; or empty kafka.datadir, which is only a copy of it, where the changelog is right",
        errors=(ConsistencyError,),
        meaning="the local state is ahead of the changelog, which was made anew or has lost records",
    ),
    Ending(
        "a foreign member in the group",
        "another application uses this kafka.group: end it, or give one of the two another group (`insession doctor` "
        "names the group)",
        errors=(kafka.InconsistentGroupProtocolError,),
        meaning="the group has members that are no insession workers",
    ),
    Ending(
        "no rights on topics or group",
        "allow this user Read, Write and Describe on the topics, Read on the group (docs/security.md has the ACLs)",
        errors=(
            kafka.TopicAuthorizationFailedError,
            kafka.GroupAuthorizationFailedError,
            kafka.ClusterAuthorizationFailedError,
            kafka.TransactionalIdAuthorizationFailed,
        ),
        meaning="the brokers do not let this user do it",
    ),
    Ending(
        "the brokers do not know the user",
        "check kafka.security.username, kafka.security.password and kafka.security.mechanism",
        errors=(
            kafka.AuthenticationFailedError,
            kafka.AuthenticationMethodNotSupported,
            kafka.SaslAuthenticationFailed,
            kafka.UnsupportedSaslMechanismError,
        ),
        meaning="the brokers refused the user",
    ),
    Ending(
        "a record above the topic's limit",
        "raise max.message.bytes of the topic (`insession topics check` names both sizes)",
        errors=(kafka.MessageSizeTooLargeError, kafka.RecordListTooLargeError, kafka.RecordTooLargeError),
        meaning="a record is larger than the topic takes",
    ),
    Ending(
        "a topic that is gone",
        "run `insession topics check`; restore the topic, or make it with `insession topics create`",
        errors=(kafka.UnknownTopicOrPartitionError, kafka.InvalidTopicError),
        meaning="a topic or partition is not there",
    ),
    Ending(
        "too few replicas in sync",
        "bring the broker back that is away, or see topics.min_insync_replicas; then start again",
        errors=(kafka.NotEnoughReplicasError, kafka.NotEnoughReplicasAfterAppendError),
        meaning="too few replicas are in sync to take a record",
    ),
    Ending(
        "a partition that has moved",
        "see that the brokers are up and each partition has a leader, then start again",
        errors=(
            kafka.NotLeaderForPartitionError,
            kafka.LeaderNotAvailableError,
            kafka.KafkaStorageError,
        ),
        meaning="the partition's leader has changed or is away",
    ),
    Ending(
        "the member was fenced",
        "two workers have the same kafka.instance_id, or this one was away too long: give each its own, and start "
        "again",
        errors=(kafka.UnknownMemberIdError, kafka.IllegalGenerationError),
        meaning="the group does not know this member any more",
    ),
    Ending(
        "the brokers do not answer",
        "check the brokers and kafka.brokers, and start again",
        errors=(
            kafka.KafkaConnectionError,
            kafka.NoBrokersAvailable,
            kafka.NodeNotReadyError,
            kafka.KafkaTimeoutError,
            kafka.RequestTimedOutError,
            kafka.CoordinatorNotAvailableError,
            kafka.GroupCoordinatorNotAvailableError,
        ),
        meaning="the brokers do not answer",
    ),
    Ending(
        "another error of the Kafka client",
        "look at the log of the brokers at this moment, and start again",
        errors=(kafka.KafkaError,),
        meaning="the Kafka client has failed",
    ),
    Ending(
        "another error of the operating system",
        "see that what it names is there and answers, and start again",
        errors=(OSError,),
        meaning="the operating system refuses it",
    ),
)
_SPARE_FILES: Final = 8
UNEXPECTED: Final = "a bug, of insession or of a library: report it with the traceback in the log, and start again"


def explained(error: BaseException) -> str:
    """Describe in one line what happened, to what, and what to do."""
    for one in _behind(error):
        if isinstance(one, InsessionError):
            return str(one)
        if isinstance(one, KafkaException):
            return explained_by_librdkafka(one)
    if (full := _lack_of_files()) is not None:
        error = full  # libraries raise something else of it, as that nobody answers
    for one in _behind(error):
        ending = next((ending for ending in ENDINGS if ending.fits(one)), None)
        if ending is not None:
            return f"{_meaning(one, ending)}: {ending.remedy}"
    return f"unexpected {_one_line(repr(error))}: {UNEXPECTED}"


def _lack_of_files() -> OSError | None:
    """Return the error that opening a file makes now, where there are next to no file handles left."""
    opened: list[int] = []
    try:
        opened.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(_SPARE_FILES))
    except OSError as error:
        return error if error.errno in {errno.EMFILE, errno.ENFILE} else None
    finally:
        for handle in opened:
            os.close(handle)
    return None


def _behind(error: BaseException) -> Iterator[BaseException]:
    """Return the error, then what caused it, in turn."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _meaning(error: BaseException, ending: Ending) -> str:
    found = _one_line(str(error) or type(error).__name__)
    if not ending.meaning:
        return found
    kind = type(error).__name__
    return f"{ending.meaning} ({found})" if kind in found else f"{ending.meaning} ({kind}: {found})"


def _one_line(text: str) -> str:
    return " ".join(text.split())
