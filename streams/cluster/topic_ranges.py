"""Which offsets a part of a topic is: fixed once, so that whoever reads them again reads the same."""

from schemas.errors import InsessionError, UsageError
from schemas.topic_url import AtOffsets, AtTime, Place, TopicUrl
from streams.cluster.topic_reader import TopicReader


def offsets_of(url: TopicUrl, reader: TopicReader) -> dict[int, range]:
    """Return the offsets of each partition, maybe none of one.

    Raises TopicsError where the brokers do not answer or refuse, UsageError where the URL names partitions that are
    not there or offsets that are not written yet, and InsessionError where what it begins with was deleted.
    """
    held = reader.bounds(url.topic)
    firsts, stops = _offsets(url, url.first, held, reader), _offsets(url, url.stop, held, reader)
    return {
        partition: range(firsts[partition], max(firsts[partition], stops[partition]))
        for partition in held
        if partition in firsts and partition in stops
    }


def _offsets(url: TopicUrl, place: Place, held: dict[int, range], reader: TopicReader) -> dict[int, int]:
    match place:
        case "beginning":
            return {partition: offsets.start for partition, offsets in held.items()}
        case "end":
            return {partition: offsets.stop for partition, offsets in held.items()}
        case AtTime(time_ms):
            since = reader.offsets_since(url.topic, time_ms)
            return {partition: min(since[partition].start, offsets.stop) for partition, offsets in held.items()}
        case AtOffsets(by_partition, others):
            return _said(url, by_partition, others, held)


def _said(url: TopicUrl, by_partition: dict[int, int], others: int | None, held: dict[int, range]) -> dict[int, int]:
    """Take offsets as they were said; what is gone or not there yet is told, and not read around."""
    missing = by_partition.keys() - held.keys()
    if missing:
        raise UsageError(f"{url}: topic {url.topic} has no partition {min(missing)}; it has {len(held)}")
    if others is not None:  # one number for all partitions bounds them as far as they go
        return {partition: min(max(others, offsets.start), offsets.stop) for partition, offsets in held.items()}
    for partition, offset in by_partition.items():
        if offset > held[partition].stop:
            raise UsageError(
                f"{url}: partition {partition} ends at {held[partition].stop}, before {offset}; was it made anew?"
            )
        if offset < held[partition].start:
            raise InsessionError(
                f"{url}: partition {partition} begins at {held[partition].start}, what is before was deleted by its "
                "retention; begin there, or keep the topic longer"
            )
    return by_partition
