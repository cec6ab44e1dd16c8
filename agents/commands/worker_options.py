"""Options of a training on several workers, and the trainer that they ask for."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from agents.durations import DurationType
from schemas.errors import UsageError

if TYPE_CHECKING:
    from session_model.networks.trainer import Trainer

_Command = TypeVar("_Command", bound=Callable[..., Any])
RUNNERS: Final = ("processes", "spark")
MAX_WORKERS: Final = 256


def worker_options(command: _Command) -> _Command:
    """Add the options that `trainer_of` takes."""
    for option in reversed(
        (
            click.option(
                "--workers",
                type=click.IntRange(1, MAX_WORKERS),
                default=1,
                show_default=True,
                help="Train on so many, each on its share of every batch. Another number gives other weights, as "
                "another seed does. `python -m bench.distributed` tells what it brings.",
            ),
            click.option(
                "--runner",
                type=click.Choice(RUNNERS),
                default=RUNNERS[0],
                show_default=True,
                help="Of the workers: processes of this machine, or tasks of a barrier stage, which Spark runs again "
                "when one is lost (pip install 'insession[spark]', Java 17).",
            ),
            click.option(
                "--master",
                metavar="URL",
                help="Of --runner spark, as spark-submit takes it; as many slots of this machine if nothing is said.",
            ),
            click.option(
                "--max-restarts",
                type=click.IntRange(min=0),
                default=5,
                show_default=True,
                help="Of all workers, in one training, when one dies or hangs.",
            ),
            click.option(
                "--start-timeout",
                type=DurationType(),
                metavar="DURATION",
                default="5m",
                show_default=True,
                help="Until all workers have met.",
            ),
            click.option(
                "--checkpoint-every",
                type=DurationType(),
                metavar="DURATION",
                default="60s",
                show_default=True,
                help="Within an epoch: what a restart or an interruption loses at most. Changes no weight.",
            ),
        )
    ):
        command = option(command)
    return command


def trainer_of(options: Mapping[str, Any], *, is_published: bool) -> "Trainer":
    """Return who trains by the `options` of the command; raises UsageError where workers cannot.

    is_published: GRU4Rec, which no workers train.
    """
    from session_model.distributed.supervisor import Limits, Supervisor
    from session_model.networks.trainer import OneProcess

    n_workers, is_spark = options["workers"], options["runner"] == "spark"
    if options["master"] is not None and not is_spark:
        raise UsageError("--master is Spark's; add --runner spark")
    if n_workers == 1:
        if is_spark:
            raise UsageError("--runner spark runs several workers; add --workers 2 or more")
        return OneProcess()
    if is_published:
        raise UsageError(
            f"--workers {n_workers}: GRU4Rec is trained as published, each step on from the states of the one before, "
            "and that by one process; leave out --workers, or take another preset"
        )
    limits = Limits(options["max_restarts"], options["start_timeout"].total_seconds())
    if is_spark:
        from agents.batch.barrier_runner import BarrierRunner

        return BarrierRunner(n_workers, limits, options["master"])
    return Supervisor(n_workers, limits)
