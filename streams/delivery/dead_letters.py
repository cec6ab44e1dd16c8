"""Dead letters: the original bytes and headers of an input that cannot be used, plus headers that say why."""

from collections.abc import Iterable

from schemas.validation import Rejection
from streams.records import InputRecord, OutputRecord

HEADER_PREFIX = "__insession.errors."
MAX_VALUE_BYTES = 800_000
MAX_KEY_BYTES = 50_000
MAX_HEADER_BYTES = 50_000
"""Together under the broker's default record limit of 1 MiB; a larger original is cut and marked as cut."""
MAX_DETAIL_LENGTH = 500


def dead_letter(record: InputRecord, rejection: Rejection, topic: str) -> OutputRecord:
    """Make the dead letter of `record` for the dead-letter `topic`."""
    position = record.position
    key = None if record.key is None else record.key[:MAX_KEY_BYTES]
    value = None if record.value is None else record.value[:MAX_VALUE_BYTES]
    errors = {
        "id": position.record_id,
        "reason": rejection.reason,
        "message": rejection.detail[:MAX_DETAIL_LENGTH],
        "topic": position.topic,
        "partition": str(position.partition),
        "offset": str(position.offset),
    }
    if (key, value) != (record.key, record.value):
        errors["truncated_from_bytes"] = str(len(record.key or b"") + len(record.value or b""))
    headers = [(name, content) for name, content in record.headers if not name.startswith(HEADER_PREFIX)]
    if header_bytes(headers) > MAX_HEADER_BYTES:
        headers = []
        errors["headers_dropped"] = "too large"
    if record.undecodable is not None and record.undecodable.kept == "no_headers":
        errors["headers_dropped"] = "undecodable"
    if record.undecodable is not None and record.undecodable.kept == "encoded":
        errors["encoded"] = "as in Kafka's log"
    headers += [(HEADER_PREFIX + name, content.encode()) for name, content in errors.items()]
    return OutputRecord(topic, key, value, headers)


def state_letter(stored: InputRecord, detail: str, topic: str, *, letter_id: str) -> OutputRecord:
    """Make the letter of a stored state that cannot be decoded, in its own partition.

    stored: its position is the changelog's. The letter names no offset: it is no input, and is never sent again.
    """
    letter = dead_letter(stored, Rejection("unreadable_state", detail), topic)
    replaced = {HEADER_PREFIX + "id": letter_id.encode()}
    headers = [
        (name, replaced.get(name, content)) for name, content in letter.headers if name != HEADER_PREFIX + "offset"
    ]
    return OutputRecord(letter.topic, letter.key, letter.value, headers, partition=stored.position.partition)


def header_bytes(headers: Iterable[tuple[str, bytes]]) -> int:
    """Count the bytes of names and contents."""
    return sum(len(name.encode()) + len(content) for name, content in headers)
