"""Days of a topic, frozen on a real Spark from a real Kafka, which finds offsets by time."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer

from agents.batch.ingest_job import DayManifest, IngestJob, days_until, ingest_topic, read_day
from agents.batch.sessions_job import SessionsJob, run_sessions
from agents.settings import Settings
from agents.upkeep.job_progress import JobProgress
from schemas.errors import InsessionError
from schemas.events import unix_ms
from schemas.topic_url import parse_topic_url
from streams.cluster.topics import Topic
from tests.conftest import KafkaTopics

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.pipeline, pytest.mark.kafka]

LAST = datetime.now(UTC).date() - timedelta(days=1)
"""Within the retention of the topic."""
QUIET = JobProgress(lambda _step, _total: None, lambda _count: None)


class Shop:
    """A clickstream of one partition."""

    def __init__(self, topics: KafkaTopics) -> None:
        topics.create()
        self.topic = topics.settings.name(Topic.CLICKSTREAM)
        self.url = parse_topic_url(f"kafka://{topics.brokers}/{self.topic}")
        settings = Settings()
        self.settings = replace(settings, topics=topics.settings, kafka=replace(settings.kafka, brokers=topics.brokers))
        self._producer = Producer({"bootstrap.servers": topics.brokers})

    def click(self, day: date, *times: str) -> None:
        """Write a click at each time of a day."""
        for time in times:
            time_ms = unix_ms(datetime.fromisoformat(f"{day}T{time}Z"))
            value = f'{{"visitor_id": "v", "event_type": "view", "item_id": "i{time_ms}", "event_time": {time_ms}}}'
            self._producer.produce(self.topic, value, "v", partition=0, timestamp=time_ms)
        assert self._producer.flush(30) == 0

    def ingest(self, spark: "SparkSession", out: Path, last: date = LAST, n_days: int = 2) -> list[DayManifest]:
        """Freeze days."""
        job = IngestJob(self.url, "parquet", days_until(last, n_days), out)
        return ingest_topic(spark, job, self.settings, QUIET)


@pytest.fixture
def shop(kafka_topics: Callable[..., KafkaTopics]) -> Shop:
    """Have clicks of two days."""
    shop = Shop(kafka_topics(partitions=1))
    shop.click(LAST - timedelta(days=1), "10:00", "10:01")
    shop.click(LAST, "10:00")
    return shop


def test_days_of_a_topic_have_their_records_and_make_sessions(
    spark: "SparkSession", shop: Shop, tmp_path: Path
) -> None:
    """In the columns of Spark's Kafka source, as `insession sessions` reads them."""
    made = shop.ingest(spark, tmp_path / "days", n_days=3)
    assert [(one.day, one.records) for one in made] == [(LAST - timedelta(days=1), 2), (LAST, 1)]
    assert read_day(tmp_path / "days" / str(LAST - timedelta(days=2))) is None, "an empty day is asked for again"
    rows = pq.read_table(tmp_path / "days" / str(LAST - timedelta(days=1)))
    assert {"key", "value", "partition", "offset", "timestamp", "topic"} <= {*rows.column_names}
    assert rows.column("offset").to_pylist() == [0, 1]
    job = SessionsJob(tmp_path / "days" / "*", "parquet", tmp_path / "out", shop.topic)
    assert run_sessions(spark, job, shop.settings)["sessions"] == 2


def test_a_frozen_day_is_not_read_again_and_late_records_are_the_next_days(
    spark: "SparkSession", shop: Shop, tmp_path: Path
) -> None:
    """A record of yesterday that comes today is in exactly one of them."""
    before = shop.ingest(spark, tmp_path / "days")
    shop.click(LAST, "23:59")
    shop.click(LAST + timedelta(days=1), "00:00")
    assert shop.ingest(spark, tmp_path / "days") == []
    assert read_day(tmp_path / "days" / str(LAST)) == before[1]
    (after,) = shop.ingest(spark, tmp_path / "days", LAST + timedelta(days=1))
    assert after.records == 2
    assert after.partitions[0].first == before[1].partitions[0].stop == 3
    assert after.made_at <= datetime.now(UTC)


def test_a_topic_without_a_click_leaves_no_day(spark: "SparkSession", shop: Shop, tmp_path: Path) -> None:
    """Nor does one that is not there."""
    assert shop.ingest(spark, tmp_path / "days", date(2025, 1, 1)) == []
    shop.url = parse_topic_url(str(shop.url).replace(shop.topic, "nothing-is-called-so"))
    with pytest.raises(InsessionError):
        shop.ingest(spark, tmp_path / "days", n_days=1, last=date(2025, 2, 1))
