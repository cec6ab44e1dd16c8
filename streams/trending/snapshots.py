"""What the observer keeps between two lives, as values of a compacted topic: a version, then msgpack in zlib.

A record larger than a topic takes would end the observer, so a place that does not fit lets its least viewed items go.
"""

import zlib
from typing import Final

import msgspec

from streams.trending.counts import PlaceCounts
from streams.trending.fold import StoredPlace, StoredProgress

PROGRESS_KEY: Final = b"__progress__"
PLACE_PREFIX: Final = b"place:"
"""Before the name of a place in a key; the name of everywhere is empty."""
MAX_BYTES: Final = 900_000
VERSION: Final = 1
"""The first byte of a value; an observer reads its own version only."""
_MAX_INFLATED_BYTES: Final = 64_000_000
_encoder = msgspec.msgpack.Encoder()
_place_decoder = msgspec.msgpack.Decoder(StoredPlace)
_progress_decoder = msgspec.msgpack.Decoder(StoredProgress)


class SnapshotError(ValueError):
    """A stored value is none of ours, or damaged; the observer goes on without it."""


def place_key(place: str) -> bytes:
    """Return the key under which a place lies."""
    return PLACE_PREFIX + place.encode(errors="surrogateescape")


def place_of(key: bytes) -> str:
    """Return the place that lies under a key."""
    return key.removeprefix(PLACE_PREFIX).decode(errors="surrogateescape")


def encode_place(stored: StoredPlace, counts: PlaceCounts) -> bytes:
    """Serialise a place; of one that does not fit the least viewed items go, in `counts` as well."""
    value = _packed(_encoder.encode(stored))
    while len(value) > MAX_BYTES and len(counts) > 1:
        counts.keep(len(counts) // 2)
        stored = msgspec.structs.replace(stored, counts=counts.stored())
        value = _packed(_encoder.encode(stored))
    return value


def encode_progress(progress: StoredProgress) -> bytes:
    """Serialise how far the fold has come."""
    return _packed(_encoder.encode(progress))


def decode_place(value: bytes) -> StoredPlace:
    """Read a place; raises SnapshotError."""
    try:
        return _place_decoder.decode(_unpacked(value))
    except (msgspec.MsgspecError, ValueError, zlib.error, RecursionError) as error:
        raise SnapshotError(str(error)) from error


def decode_progress(value: bytes) -> StoredProgress:
    """Read how far the fold had come; raises SnapshotError."""
    try:
        return _progress_decoder.decode(_unpacked(value))
    except (msgspec.MsgspecError, ValueError, zlib.error, RecursionError) as error:
        raise SnapshotError(str(error)) from error


def _packed(value: bytes) -> bytes:
    return bytes([VERSION]) + zlib.compress(value, level=3)


def _unpacked(value: bytes) -> bytes:
    if value[:1] != bytes([VERSION]):
        raise SnapshotError(f"it begins with {value[:1]!r}: it is not of version {VERSION}")
    inflater = zlib.decompressobj()
    inflated = inflater.decompress(value[1:], _MAX_INFLATED_BYTES)
    if inflater.unconsumed_tail:
        raise SnapshotError(f"it inflates to more than {_MAX_INFLATED_BYTES} bytes")
    if not inflater.eof:
        raise SnapshotError("it is cut")
    return inflated
