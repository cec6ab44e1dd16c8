"""Options of a training on several workers, and the trainer that they ask for."""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from agents.durations import DurationType
from schemas.errors import UsageError

if TYPE_CHECKING:
    from session_model.networks.trainer import Trainer

_Command = TypeVar("_Command", bound=Callable[..., Any])
RUNNERS: Final = ("processes",)
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
                help="Of the workers: processes of this machine.",
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


def trainer_of(workers: int, max_restarts: int, start_timeout: timedelta, *, is_published: bool) -> "Trainer":
    """Return who trains; raises UsageError where workers cannot.

    is_published: GRU4Rec, which no workers train.
    """
    from session_model.distributed.supervisor import Limits, Supervisor
    from session_model.networks.trainer import OneProcess

    if workers == 1:
        return OneProcess()
    if is_published:
        raise UsageError(
            f"--workers {workers}: GRU4Rec is trained as published, each step on from the states of the one before, "
            "and that by one process; leave out --workers, or take another preset"
        )
    return Supervisor(workers, Limits(max_restarts, start_timeout.total_seconds()))
