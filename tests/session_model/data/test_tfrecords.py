"""TFRecords are read back as what was written, by us and by TensorFlow, and a damaged one is never taken for data."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import wire
from schemas.errors import InsessionError, UsageError
from schemas.records import SessionSummary
from session_model.data.formats import read_sessions
from session_model.data.tfrecord_files import (
    DamagedRecordError,
    decode_example,
    encode_example,
    masked_crc32c,
    read_records,
    write_record,
)
from session_model.data.tfrecords import SCHEMA, VOCABULARY
from tests.session_model.tfrecord_data import write_data_set

LINES = (
    b'{"id":"a","visitor_key":"k","session_id":"s1","end_reason":"inactivity","started_at":"2023-11-14T22:13:20Z",'
    b'"ended_at":"2023-11-14T22:13:22Z","event_count":4,"location":"Berlin","events":[["view",1700000000000,"red",2.5],'
    b'["search",1700000001000],["purchase",1700000002000,"blue",9.75]]}\n'
    b'{"id":"b","visitor_key":"l","session_id":"s1","end_reason":"inactivity","started_at":"2023-11-14T22:13:20Z",'
    b'"ended_at":"2023-11-14T22:13:21Z","event_count":1,"events":[["view",1700000001000,"blue"]]}\n'
)


@pytest.fixture
def sessions() -> list[SessionSummary]:
    """Two sessions; an event without item, two visitors with one session id."""
    return [wire.decode_session_summary(line) for line in LINES.splitlines()]


@pytest.fixture
def folder(sessions: list[SessionSummary], tmp_path: Path) -> Path:
    """Write them as a data set of two splits."""
    return write_data_set(tmp_path, {"train": sessions, "test": sessions[:1]})


def framed(*records: bytes) -> bytes:
    """Frame records."""
    file = io.BytesIO()
    for record in records:
        write_record(file, record)
    return file.getvalue()


def test_the_columns_are_those_of_the_session_ends_it_was_written_of(folder: Path, tmp_path: Path) -> None:
    """Ids, order, items, times, types, prices, places, and whether a session is whole."""
    (tmp_path / "ends.jsonl").write_bytes(LINES)
    ours, theirs = read_sessions(folder / "train", "tfrecord"), read_sessions(tmp_path / "ends.jsonl", "session-ends")
    for name in ("session_ids", "item_ids", "locations"):
        assert getattr(ours, name) == getattr(theirs, name)
    for name in ("starts", "items", "times_ms", "event_types", "prices", "is_cut"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_the_checksum_is_that_of_the_published_example() -> None:
    """CRC-32C of 32 zero bytes is 0x8A9136AA (RFC 3720, B.4), here masked as TFRecords have it."""
    crc = 0x8A9136AA
    assert masked_crc32c(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_records_are_read_as_they_were_written(records: list[bytes]) -> None:
    """Empty ones, too."""
    assert list(read_records(io.BufferedReader(io.BytesIO(framed(*records))), "f")) == records


@given(st.integers(0, 200), st.integers(0, 7))
def test_a_flipped_bit_or_a_cut_is_found(place: int, bit: int) -> None:
    """Wherever it is: the record before it is good, it and what follows are refused."""
    whole = framed(b"first record", b"second record")
    at = place % len(whole)
    flipped = bytearray(whole)
    flipped[at] ^= 1 << bit
    for damaged in (bytes(flipped), whole[:at]):
        read = list[bytes]()
        if damaged in {b"", framed(b"first record")}:
            continue  # cut between two records: the number of records in the schema tells
        with pytest.raises(DamagedRecordError, match=r"f: record [12] is damaged"):
            read.extend(read_records(io.BufferedReader(io.BytesIO(damaged)), "f"))


def test_a_length_beyond_the_bound_asks_for_no_memory() -> None:
    """A length may be wrong with a checksum that is right."""
    length = struct.pack("<Q", 1 << 40)
    head = length + struct.pack("<I", masked_crc32c(length))
    with pytest.raises(DamagedRecordError, match="at most"):
        list(read_records(io.BufferedReader(io.BytesIO(head)), "f"))


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1)),
    st.lists(st.floats(width=32, allow_nan=False)),
    st.lists(st.binary(max_size=20)),
)
def test_features_are_read_as_they_were_written(ints: list[int], floats: list[float], texts: list[bytes]) -> None:
    """All of int64 and float32."""
    features = {"ints": ints, "floats": floats, "texts": texts}
    assert decode_example(encode_example(features)) == features


def test_tensorflow_reads_them_and_writes_the_same_bytes(folder: Path) -> None:
    """As a pipeline of somebody else's would: ragged features by the names of the schema."""
    tf = pytest.importorskip("tensorflow")
    path = folder / "train" / "part-00000.tfrecord"
    ragged = {name: tf.io.RaggedFeature(tf.int64) for name in ("items", "event_types", "times_ms")}
    spec = ragged | {"prices": tf.io.RaggedFeature(tf.float32), "session_id": tf.io.FixedLenFeature((), tf.string)}
    (batch,) = tf.data.TFRecordDataset(str(path)).batch(8).map(lambda records: tf.io.parse_example(records, spec))
    assert batch["items"].to_list() == [[2, 0, 1], [1]]
    assert batch["times_ms"].to_list()[1] == [1_700_000_001_000]
    assert batch["session_id"].numpy().tolist() == [b"s1", b"s1"]
    with path.open("rb") as stream:
        for record in read_records(stream, path.name):
            assert tf.train.Example.FromString(record).SerializeToString(deterministic=True) == record


def test_a_data_set_is_read_by_the_split(folder: Path) -> None:
    """All of it would learn from the test; a file that lost its schema, or has another vocabulary, is refused."""
    with pytest.raises(UsageError, match="name one of them"):
        read_sessions(folder, "tfrecord")
    assert len(read_sessions(folder / "test", "tfrecord")) == 1
    (folder / VOCABULARY).write_text('["other"]')
    with pytest.raises(InsessionError, match="is not the one that"):
        read_sessions(folder / "train", "tfrecord")
    (folder / SCHEMA).unlink()
    with pytest.raises(UsageError, match=f"no {SCHEMA}"):
        read_sessions(folder / "train", "tfrecord")
