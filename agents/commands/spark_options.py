"""What the commands that run on Spark share: where it runs, and its configuration."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from agents.batch.spark_session import DEFAULT_MASTER
from schemas.errors import UsageError

_Command = TypeVar("_Command", bound=Callable[..., Any])


def spark_options(command: _Command) -> _Command:
    """Add `--master`, `--spark-conf` and `--overwrite`."""
    for option in (
        click.option("--overwrite", "is_replaced", is_flag=True, help="Replace a result that --out holds."),
        click.option(
            "--spark-conf",
            "conf",
            multiple=True,
            metavar="NAME=VALUE",
            help="Configuration of Spark, such as spark.executor.memory=4g; repeat for more.",
        ),
        click.option(
            "--master",
            default=DEFAULT_MASTER,
            show_default=True,
            help="Where Spark runs: local[2], spark://HOST:7077, yarn, k8s://...; docs/pipeline.md says what a cluster "
            "needs.",
        ),
    ):
        command = option(command)
    return command


def parse_conf(texts: Iterable[str]) -> dict[str, str]:
    """Read `--spark-conf`; raises UsageError where one is not NAME=VALUE."""
    found = dict[str, str]()
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name.strip():
            raise UsageError(f"--spark-conf {text}: write NAME=VALUE, as spark.executor.memory=4g")
        found[name.strip()] = value.strip()
    return found
