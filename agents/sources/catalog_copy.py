"""The catalog topic as a file of records in our own form, each item as the shop described it last."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agents.encodings import Encodings
from agents.settings import Settings
from agents.upkeep.job_progress import JobProgress
from schemas import wire
from schemas.errors import InsessionError
from schemas.release import TrainingSource
from schemas.topic_url import TopicUrl
from session_model.files import write_whole
from streams.catalog import Catalog
from streams.cluster.topic_ranges import offsets_of
from streams.cluster.topic_reader import TopicReader

CATALOG_FILE: Final = "catalog.jsonl"


def copy_catalog(url: TopicUrl, settings: Settings, folder: Path, progress: JobProgress) -> TrainingSource:
    """Write `CATALOG_FILE` into `folder`, by item id; what was removed or is unreadable is not in it, as in a worker.

    Raises TopicsError and the errors of `offsets_of`, and InsessionError where no item is described.
    """
    read_at, catalog = datetime.now(UTC), Catalog(reader=Encodings(settings).catalog_reader())
    with TopicReader(settings.kafka.client_config()) as reader:
        offsets = offsets_of(url, reader)
        progress.begin(url.topic, sum(map(len, offsets.values())))
        for record in reader.read(url.topic, offsets):
            catalog.apply(record.key, record.value, record.time_ms, record.headers)
            progress.advance(1)
    records = sorted(catalog.records(), key=lambda item: item.item_id)
    if not records:
        raise InsessionError(f"topic {url.topic} describes no item there; check its name and catalog.* of --config")
    write_whole(folder / CATALOG_FILE, lambda file: file.writelines(wire.encode(item) + b"\n" for item in records))
    return TrainingSource(url=str(url), read_at=read_at)
