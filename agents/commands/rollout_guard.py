"""`insession release guard`: takes a release back that does worse than the one before."""

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from agents.commands.connection import Connection, connection_options
from agents.commands.number_range import NumberRange
from agents.commands.release_options import model_name_option
from agents.commands.rollout import MODELS
from agents.durations import DurationType
from agents.interruption import Interruption
from schemas.bus import BusUrl
from schemas.errors import InsessionError

if TYPE_CHECKING:
    from agents.rollout.guard import RolloutGuard
    from streams.cluster.topic_reader import TopicReader

_DEFAULT_EVERY: Final = "5s"


@click.command(
    epilog="""\b
Example:
  insession release guard --models s3://shop-models/releases --brokers 127.0.0.1:9092

It ends by Ctrl-C or SIGTERM; run one a deployment.
"""
)
@connection_options
@MODELS
@model_name_option("Folder of the releases there; serving.model_name of the workers.")
@click.option(
    "--every", type=DurationType(), metavar="DURATION", default=_DEFAULT_EVERY, show_default=True, help="Between looks."
)
@click.option(
    "--window", type=DurationType(), metavar="DURATION", default="5m", show_default=True, help="Time that is looked at."
)
@click.option(
    "--fallbacks",
    type=NumberRange(0, 1),
    default=0.05,
    show_default=True,
    help="More answers by lower tiers, as a share of all, that are borne.",
)
@click.option(
    "--hits",
    type=NumberRange(0, 1),
    default=0.2,
    show_default=True,
    help="Loss of clicks on an item of the answer, as a share of the other release's, that is borne.",
)
def guard(connection: Connection, models: BusUrl, model_name: str, *, every: timedelta, **bands: Any) -> None:
    """Watch what is answered, and step back where a release does worse than the one before.

    A canary is held against the champion's visitors, a shadow against what the champion shows, a new champion for an
    hour against the one before it: answers by lower tiers, the service level objectives, delay, and clicks on an item
    of the answer. What is out of its band by more than chance ends the trial, or brings the champion before back, with
    the reason in the audit.
    """
    from agents.artifact_bus import open_bus
    from agents.encodings import Encodings
    from agents.logs import configure_logs
    from agents.rollout.bands import Bands
    from agents.rollout.guard import RolloutGuard
    from session_model.release.rollout_log import RolloutLog
    from streams.cluster.topic_reader import TopicReader

    settings = connection.settings()
    configure_logs("INFO")
    rollouts = RolloutLog(open_bus(str(models)), model_name)
    watching = RolloutGuard(rollouts, settings.topics, Bands(**bands), Encodings(settings).decode_output)
    with Interruption():
        try:
            with TopicReader(settings.kafka.client_config()) as reader:
                while True:
                    _look(watching, reader, every)
                    time.sleep(every.total_seconds())
        except KeyboardInterrupt:
            click.echo("insession: ended; what serves stays as it is", err=True)


def _look(watching: "RolloutGuard", reader: "TopicReader", every: timedelta) -> None:
    """Look once; what fails is a log line, and the next look tries again."""
    import structlog

    log = structlog.get_logger(__name__)
    try:
        step = watching.look(reader, datetime.now(UTC))
    except InsessionError as error:
        log.warning("rollout_look_failed", reason=str(error), next_seconds=every.total_seconds())
        return
    if step is not None:
        log.warning("rollout_stepped_back", revision=step.revision, champion=step.champion, reason=step.reason)
