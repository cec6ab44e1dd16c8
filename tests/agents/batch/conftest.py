from collections.abc import Iterator
from typing import TYPE_CHECKING

import psutil
import pytest

from agents.batch.spark_session import spark_session
from streams.local.java import JavaUnavailableError, find_java

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark_machine() -> Iterator[None]:
    """End the JVM, which Spark leaves behind, with the tests."""
    try:
        find_java("Spark")
    except JavaUnavailableError as error:
        pytest.skip(str(error))
    before = set(psutil.Process().children(recursive=True))
    yield
    left = set(psutil.Process().children(recursive=True)) - before
    for child in left:
        if child.is_running():
            child.kill()
    psutil.wait_procs(left, timeout=30)


@pytest.fixture(scope="module")
def spark(spark_machine: None) -> Iterator["SparkSession"]:  # noqa: ARG001 - its end
    """Start one Spark of two cores for the tests of a file, which runs a task up to four times.

    A process has one at a time, and tests of other files start and stop theirs.
    """
    conf = {"spark.sql.shuffle.partitions": "3", "spark.driver.memory": "1g", "spark.sql.adaptive.enabled": "false"}
    with spark_session("tests", "local[2,4]", conf) as session:
        yield session
