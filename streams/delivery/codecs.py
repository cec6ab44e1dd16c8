"""Which compressed topics this installation can read, found out with the worker's own client."""

from typing import Final

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from schemas.errors import InsessionError

CODECS: Final = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
"""What `compression.type` may be beside none, and its number in a record batch."""
REMEDY: Final = (
    "install the package cramjam for this Python, as requirements/worker.txt pins it "
    "(`pip install 'aiokafka[lz4,snappy,zstd]'`)"
)

_VALUE: Final = bytes(1000)
_FORMAT: Final = 2
_NOBODY: Final = -1


class CodecsError(InsessionError):
    """The worker could not read a compressed topic, nor recover from a compressed changelog."""


def require_codecs() -> None:
    """Raise CodecsError where a codec of Kafka's cannot be read: the first such batch would end the worker."""
    unreadable = unreadable_codecs()
    if unreadable:
        raise CodecsError(f"the Kafka client cannot read topics compressed with {', '.join(unreadable)}: {REMEDY}")


def unreadable_codecs() -> list[str]:
    """Return the codecs of which aiokafka cannot read its own batch."""
    return [name for name, number in CODECS.items() if not _is_readable(number)]


def _is_readable(codec: int) -> bool:
    builder = DefaultRecordBatchBuilder(_FORMAT, codec, 0, _NOBODY, _NOBODY, _NOBODY, 2 * len(_VALUE))
    builder.append(0, 0, None, _VALUE, [])
    try:
        return [record.value for record in DefaultRecordBatch(bytes(builder.build()))] == [_VALUE]
    except Exception:  # noqa: BLE001 - aiokafka says that it is not there; a broken package says anything
        return False
