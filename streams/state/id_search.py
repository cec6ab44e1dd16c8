"""Where ids of visitors stand in the records of a topic, by their bytes: in key, value and headers, however encoded."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from schemas.ids import VisitorId
from streams.records import InputRecord

_LONG_BYTES: Final = 8
"""A shorter id is looked for as a word of its own: it would be part of half of all numbers and names."""
_WORD: Final = rb"[\w-]"


@dataclass(slots=True)
class Found:
    """What names the ids in one topic.

    records: without tombstones. newest_ms: the latest timestamp among them, Unix milliseconds.
    keys: by partition, the ids that are the key of a record with a value, for the topic's tombstones.
    ends: by partition, the offset behind the last record that names one.
    """

    records: int = 0
    newest_ms: int = 0
    keys: dict[int, set[bytes]] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)


class IdSearch:
    """Looks for ids as text, as JSON spells them, and as keys."""

    def __init__(self, ids: Iterable[VisitorId]) -> None:
        keys = [visitor_id.encode() for visitor_id in ids]
        escaped = [json.dumps(key.decode())[1:-1].encode() for key in keys]
        self._keys = frozenset(keys)
        long = {one for one in (*keys, *escaped) if len(one) >= _LONG_BYTES}
        short = {one for one in (*keys, *escaped) if len(one) < _LONG_BYTES}
        parts = [re.escape(one) for one in sorted(long, key=len, reverse=True)]
        if short:
            words = b"|".join(re.escape(one) for one in sorted(short))
            parts.append(b"(?<!%b)(?:%b)(?!%b)" % (_WORD, words, _WORD))
        self._pattern = re.compile(b"|".join(parts)) if parts else None

    def is_in(self, content: bytes | None) -> bool:
        """Return whether bytes name an id."""
        return self._pattern is not None and content is not None and self._pattern.search(content) is not None

    def names(self, record: InputRecord) -> bool:
        """Return whether a record names an id, also as a tombstone's key."""
        if record.key in self._keys or self.is_in(record.key) or self.is_in(record.value):
            return True
        return any(self.is_in(content) for _, content in record.headers)

    def found(self, records: Iterable[InputRecord]) -> Found:
        """Go through records, those of a partition in the order of their offsets."""
        found = Found()
        for record in records:
            if not self.names(record):
                continue
            key, partition = record.key, record.position.partition
            found.ends[partition] = record.position.offset + 1
            if record.value is None:
                if key is not None:
                    found.keys.get(partition, set()).discard(key)
                continue
            found.records += 1
            found.newest_ms = max(found.newest_ms, record.time_ms)
            if key in self._keys:
                found.keys.setdefault(partition, set()).add(key)
        return found
