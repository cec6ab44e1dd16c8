from collections.abc import Iterator
from typing import TYPE_CHECKING

import psutil
import pytest

from agents.batch.spark_session import spark_session
from streams.local.java import JavaUnavailableError, find_java

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark() -> Iterator["SparkSession"]:
    """Start one Spark of two cores for all tests, which runs a task up to four times; its JVM ends with them."""
    try:
        find_java("Spark")
    except JavaUnavailableError as error:
        pytest.skip(str(error))
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    conf = {"spark.sql.shuffle.partitions": "3", "spark.driver.memory": "1g", "spark.sql.adaptive.enabled": "false"}
    with spark_session("tests", "local[2,4]", conf) as session:
        jvm = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
        yield session
    for child in jvm:
        if child.is_running():
            child.kill()
    psutil.wait_procs(jvm, timeout=30)
