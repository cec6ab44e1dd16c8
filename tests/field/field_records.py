"""Reads records as the worker does behind `insession rekey`: each under the visitors that it names."""

import json
from collections.abc import Iterable
from typing import Any

from schemas.click_reader import REKEYED_HEADER, ClickReader, Clicks, Headers
from schemas.events import ClickEvent
from schemas.mapping import FieldMapping
from schemas.validation import Ignored, Rejection

RECORD_TIME_MS = 1_795_168_900_000
"""2026-11-20 10:01:40 UTC, after all events of the cases."""


def read(
    value: Any, mapping: FieldMapping | str, headers: Headers = (), key: str | None = None
) -> list[Clicks | Ignored | Rejection]:
    """Read one record; without a key once for each of its visitors."""
    reader = ClickReader(FieldMapping(format=mapping) if isinstance(mapping, str) else mapping)  # type: ignore[arg-type]
    encoded = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    if key is not None:
        return [reader.read(key.encode(), encoded, RECORD_TIME_MS, headers)]
    visitors = reader.visitor_ids(None, encoded, headers)
    if not isinstance(visitors, tuple):
        return [visitors]
    copied = (*headers, (REKEYED_HEADER, b""))
    return [reader.read(visitor.encode(), encoded, RECORD_TIME_MS, copied) for visitor in visitors]


def clicks(value: Any, mapping: FieldMapping | str, headers: Headers = ()) -> list[ClickEvent]:
    """Return the clicks of one record; what is not for us has none, and a dead letter fails the test."""
    found: list[ClickEvent] = []
    for one in read(value, mapping, headers):
        assert not isinstance(one, Rejection), one
        found += one.events if isinstance(one, Clicks) else ()
    return found


def told(values: Iterable[Any], mapping: FieldMapping | str, headers: Headers = ()) -> list[tuple[str, str | None]]:
    """Return what happened to which item, record by record; ("ignored", reason) for what is not for us."""
    found: list[tuple[str, str | None]] = []
    for value in values:
        for one in read(value, mapping, headers):
            assert not isinstance(one, Rejection), one
            if isinstance(one, Ignored):
                found.append(("ignored", one.reason))
            else:
                found += [(click.event_type, click.item_id or click.query) for click in one.events]
    return found
