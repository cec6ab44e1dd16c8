"""Records of a topic as files of lines: one a partition, in the order of the offsets, so equal offsets are equal bytes.

What a value is not by the product's own schema is left out, counted and named. Session ends are of sessions with
consent, since a worker writes no others; those of bots are marked and left out where they are read for learning.
"""

import gzip
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec
import structlog

from agents.encodings import Encodings
from agents.settings import Settings
from agents.upkeep.job_progress import JobProgress
from schemas import wire
from schemas.errors import InsessionError
from schemas.events import from_unix_ms, unix_ms
from schemas.records import RecommendationOutcome, RecommendationSet, SessionSummary
from schemas.release import ReadPartition, TrainingSource
from schemas.topic_url import TopicUrl
from streams.cluster.topic_ranges import offsets_of
from streams.cluster.topic_reader import TopicReader
from streams.records import InputRecord

TopicFormat = Literal["session-ends", "recommendations", "recommendation-outcomes", "jsonl"]
MAX_MALFORMED_SHARE: Final = 0.01
TOLERATED_MALFORMED: Final = 10
_SHOWN_MALFORMED: Final = 5
_ADVANCE_EVERY: Final = 1000

log = structlog.get_logger(__name__)


_OUTPUTS: Final[dict[str, tuple[type[msgspec.Struct], str]]] = {
    "session-ends": (SessionSummary, "ended_at"),
    "recommendations": (RecommendationSet, "event_time"),
    "recommendation-outcomes": (RecommendationOutcome, "event_time"),
}
"""The record of each topic of ours, and the field with its time."""


class NoRecordError(InsessionError):
    """The topic is there, and has no record in that range."""


class _Line(NamedTuple):
    content: bytes
    time_ms: int


def copy_topic(
    url: TopicUrl, data_format: TopicFormat, settings: Settings, folder: Path, progress: JobProgress
) -> TrainingSource:
    """Write the records of `url` into `folder` and return what was read.

    settings: how the brokers are reached and how values are encoded. Raises TopicsError and the errors of `offsets_of`,
    InsessionError where nothing is there or too much cannot be read, OSError of the disk.
    """
    read_at = datetime.now(UTC)
    to_line = _click if data_format == "jsonl" else _output(settings, *_OUTPUTS[data_format])
    with TopicReader(settings.kafka.client_config()) as reader:
        offsets = offsets_of(url, reader)
        progress.begin(url.topic, sum(map(len, offsets.values())))
        writer = _Writer(url.topic, folder, to_line)
        with writer.open_for(offsets):
            records = reader.read(url.topic, offsets)
            while batch := list(islice(records, _ADVANCE_EVERY)):
                for record in batch:
                    writer.write(record)
                progress.advance(len(batch))
    writer.settle()
    newest_ms = [part.newest_ms for part in writer.parts.values() if part.newest_ms is not None]
    return TrainingSource(
        url=str(url),
        read_at=read_at,
        watermark=from_unix_ms(min(newest_ms)) if newest_ms else None,
        partitions=writer.parts,
        malformed=writer.malformed,
    )


class _Writer:
    """Files of one copy, and the account of what was read."""

    def __init__(self, topic: str, folder: Path, to_line: Callable[[InputRecord], _Line]) -> None:
        self.parts = dict[int, ReadPartition]()
        self.malformed = 0
        self._topic = topic
        self._folder = folder
        self._to_line = to_line
        self._files = dict[int, gzip.GzipFile]()
        self._first = ""

    def open_for(self, offsets: Mapping[int, range]) -> ExitStack:
        """Open a file for each partition of which there is something to read."""
        with ExitStack() as stack:
            for partition, wanted in sorted(offsets.items()):
                self.parts[partition] = ReadPartition(first=wanted.start, stop=wanted.stop)
                if wanted:
                    path = self._folder / f"{self._topic}-{partition:05}.jsonl.gz"
                    # Without name and time in its head, equal lines are an equal file.
                    raw = stack.enter_context(path.open("xb"))
                    self._files[partition] = stack.enter_context(
                        gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=raw, mtime=0)
                    )
            return stack.pop_all()

    def write(self, record: InputRecord) -> None:
        """Write a record as a line, or count it as malformed; a tombstone is neither."""
        if record.value is None:
            return
        partition = record.position.partition
        try:
            line = self._to_line(record)
        except (ValueError, OverflowError, RecursionError) as error:
            self._add_malformed(record, str(error))
            return
        self._files[partition].write(line.content + b"\n")
        part = self.parts[partition]
        newest_ms = line.time_ms if part.newest_ms is None else max(part.newest_ms, line.time_ms)
        self.parts[partition] = msgspec.structs.replace(part, records=part.records + 1, newest_ms=newest_ms)

    def settle(self) -> None:
        """Raise InsessionError where nothing was usable, or too much was not."""
        n_usable = sum(part.records for part in self.parts.values())
        n_read = n_usable + self.malformed
        if n_read == 0:
            raise NoRecordError(f"topic {self._topic} holds no record there; check from and to, and its retention")
        if self.malformed > max(TOLERATED_MALFORMED, n_read * MAX_MALFORMED_SHARE) or n_usable == 0:
            raise InsessionError(
                f"topic {self._topic}: {self.malformed} of {n_read} records cannot be read, first {self._first}; "
                "check --format, and outputs.encoding and clickstream.mapping of --config"
            )

    def _add_malformed(self, record: InputRecord, reason: str) -> None:
        self.malformed += 1
        position = record.position
        self._first = self._first or f"{position.topic}-{position.partition}-{position.offset}: {reason:.300}"
        if self.malformed <= _SHOWN_MALFORMED:
            log.warning(
                "malformed_record",
                topic=position.topic,
                partition=position.partition,
                offset=position.offset,
                reason=reason[:300],
            )


def _output(settings: Settings, kind: type[msgspec.Struct], time_field: str) -> Callable[[InputRecord], _Line]:
    """Read records of ours as they are encoded, JSON or Avro, and write them as JSON."""
    decode_output = Encodings(settings).decode_output

    def line(record: InputRecord) -> _Line:
        written = msgspec.convert(decode_output(record.value or b""), kind)
        return _Line(wire.encode(written), unix_ms(getattr(written, time_field)))

    return line


def _click(record: InputRecord) -> _Line:
    """Take JSON as the shop wrote it, on one line; its consent and its times are for the reader of the lines."""
    return _Line(msgspec.json.format(record.value or b"", indent=-1), record.time_ms)
