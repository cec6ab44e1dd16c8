"""Records that nobody meant: clicks with anything in their fields, bytes flipped, cut, doubled, and no JSON at all."""

import json
import random
from collections.abc import Iterator

from tests.kafka.deployment import NewRecord
from tests.kafka.shop import Shop

ODD_VALUES = (
    None,
    True,
    -1,
    0,
    2**63,
    -(2**63),
    2**80,
    1e308,
    0.1,
    "",
    " ",
    "\x00",
    "é" * 400,
    "\ud83d\ude00",
    "NaN",
    "<script>",
    [],
    {},
    [[[]]],
    {"a": {"b": {}}},
    "2026-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "1",
    "null",
    "x" * 10_000,
)
FIELDS = (
    "visitor_id",
    "event_type",
    "event_time",
    "item_id",
    "event_id",
    "session_id",
    "location",
    "device",
    "price",
    "quantity",
    "consent",
    "currency",
    "category",
    "unheard_of",
)


def fuzzed(choose: random.Random, number: int) -> Iterator[NewRecord]:
    """Make so many records; the same for the same seed."""
    clicks = Shop(seed=choose.randrange(2**32), visitors=500).clicks()
    for _ in range(number):
        click = next(clicks)
        yield NewRecord(_key(choose, click.key), _value(choose, click.value))


def _key(choose: random.Random, key: str) -> bytes | None:
    chance = choose.random()
    if chance < 0.9:
        return key.encode()
    return None if chance < 0.95 else choose.randbytes(choose.randrange(300))


def _value(choose: random.Random, value: bytes | None) -> bytes | None:
    kind = choose.randrange(8)
    if value is None or kind == 0:
        return value
    if kind <= 3:
        return _with_odd_fields(choose, value)
    if kind == 4:
        return value[: choose.randrange(len(value) + 1)]
    if kind == 5:
        changed = bytearray(value)
        for _ in range(choose.randrange(1, 5) if value else 0):
            changed[choose.randrange(len(changed))] = choose.randrange(256)
        return bytes(changed)
    if kind == 6:
        return choose.randbytes(choose.randrange(200))
    return choose.choice(
        (value * 2, b"[" * 5_000, b"[" + value + b"]", b'{"a":' * 2_000, b"\xef\xbb\xbf" + value, b"null")
    )


def _with_odd_fields(choose: random.Random, value: bytes) -> bytes:
    try:
        event = json.loads(value)
    except ValueError:
        return value
    if not isinstance(event, dict):
        return value
    for _ in range(choose.randrange(1, 4)):
        name = choose.choice(FIELDS)
        if choose.random() < 0.2:
            event.pop(name, None)
        else:
            event[name] = choose.choice(ODD_VALUES)
    return json.dumps(event).encode()
