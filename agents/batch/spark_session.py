"""A Spark session that works as it is on one machine, and leaves a cluster its own configuration."""

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from schemas.errors import InsessionError, UsageError
from streams.local.java import find_java

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

DEFAULT_MASTER: Final = "local[*]"
_ON_ONE_MACHINE: Final = {
    "spark.driver.bindAddress": "127.0.0.1",  # else the driver listens on the first network interface
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": "32",  # 200 are for a cluster; whatever the cores, as parts hang on it
    "spark.ui.enabled": "false",
}
_ANYWHERE: Final = {
    "spark.log.level": "ERROR",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "4096",
    "spark.sql.session.timeZone": "UTC",
    "spark.ui.showConsoleProgress": "false",  # there is a bar of ours
}


@contextmanager
def spark_session(job: str, master: str, conf: Mapping[str, str]) -> Iterator["SparkSession"]:
    """Start a session for `job`, and stop it at the end; `conf` wins over what is set here.

    Raises UsageError where pyspark is not installed or a value of `conf` is none, JavaUnavailableError without Java.
    """
    try:
        with _without_pandas_warning():
            from pyspark.errors import PySparkException  # noqa: PLC0415 - an extra
            from pyspark.sql import SparkSession  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise UsageError(f"this job needs Spark ({error}): pip install 'insession[spark]'") from error
    find_java("Spark", os.environ.get("JAVA_HOME"))
    settings = _ANYWHERE | (_ON_ONE_MACHINE if master.startswith("local") else {}) | dict(conf)
    if master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else the workers are the first python3 of PATH
    builder = SparkSession.builder.appName(f"insession {job}").master(master)
    for name, value in settings.items():
        builder = builder.config(name, value)
    try:
        with _without_pandas_warning():
            spark = builder.getOrCreate()
    except (PySparkException, RuntimeError, ValueError) as error:
        raise InsessionError(f"Spark does not start at {master}: {first_line(error)}") from error
    try:
        yield spark
    finally:
        spark.stop()


def map_in_arrow(
    frame: "DataFrame", function: Callable[[Iterator["pa.RecordBatch"]], Iterable["pa.RecordBatch"]], schema: str
) -> "DataFrame":
    """Let each task run `function` over its rows."""
    with _without_pandas_warning():
        return frame.mapInArrow(function, schema)


@contextmanager
def _without_pandas_warning() -> Iterator[None]:
    """Keep Spark from warning of pandas 3, which it asks for and which plays no part in Arrow's batches."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        yield


@contextmanager
def task_errors_explained(what: str) -> Iterator[None]:
    """Raise what fails in a task as InsessionError, in a line: Spark's own message has the stacks of two languages."""
    from py4j.protocol import Py4JError  # noqa: PLC0415 - an extra
    from pyspark.errors import PySparkException  # noqa: PLC0415 - as above

    try:
        yield
    except (PySparkException, Py4JError) as error:
        found = _PYTHON_ERROR.search(str(error))
        raise InsessionError(f"{what} failed: {first_line(error) if found is None else found[1][:500]}") from error


_PYTHON_ERROR: Final = re.compile(r"^(?!.*PythonException)[\w.]*(?:Error|Exception): (.+)$", re.MULTILINE)


def first_line(error: BaseException) -> str:
    """Return what an error of Spark says before its stacks of Java and Python."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:500]
