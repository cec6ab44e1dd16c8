"""The supply of releases as metrics, from the process that runs the days, or from one beside it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final, get_args

import msgspec
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from agents.daily.records import DayState
from agents.daily.status import SupplyStatus, supply_status
from agents.settings import Settings
from agents.web.metrics_page import MetricsPage
from agents.web.port import WebPort
from schemas.errors import InsessionError

log = structlog.get_logger(__name__)

_LOOK_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 5.0


def families(found: SupplyStatus) -> Iterator[GaugeMetricFamily]:
    """Spell the supply as gauges. What is not known has no series: an age of it would be a lie."""
    champion, candidate = found.champion, found.candidate
    yield _moment("champion_since", "When the champion was promoted", None if champion is None else champion.since)
    yield _moment(
        "champion_data_until",
        "The latest event that the champion was trained on",
        None if champion is None else champion.data_until,
    )
    yield _moment("last_run", "When the last run began", found.last_run_at)
    yield _moment("last_success", "When a run last came to its end", found.last_success_at)
    yield _moment("next_run", "When the next run is due, by the loop's own schedule", found.next_run_at)
    waits = GaugeMetricFamily(
        "insession_supply_candidate_since_timestamp_seconds",
        "Since when a candidate waits, by how far it is, Unix seconds.",
        labels=["stage"],
    )
    if candidate is not None:
        waits.add_metric([candidate.stage], candidate.since.timestamp())
    yield waits
    states = GaugeMetricFamily("insession_supply_last_run_state", "1 at the state of the last run.", labels=["state"])
    checks = GaugeMetricFamily("insession_supply_checks_failed", "Checks that the last run's candidate has failed.")
    if found.state is not None:
        for state in get_args(DayState):
            states.add_metric([state], float(state == found.state))
        checks.add_metric([], len(found.checks_failed))
    yield from (states, checks)


def known(before: SupplyStatus | None, now: SupplyStatus) -> SupplyStatus:
    """Return what is known: of the Bus, where not all of it could be looked at, what it was before."""
    if before is None or not now.problems:
        return now
    return msgspec.structs.replace(now, champion=now.champion or before.champion, candidate=before.candidate)


class SupplyExporter(Collector):
    """Looks at the supply when it is told to, and tells Prometheus at any time what it saw."""

    def __init__(self, look: Callable[[], SupplyStatus]) -> None:
        self._look = look
        self._seen: SupplyStatus | None = None
        self._problems: list[str] | None = None

    def look(self) -> None:
        """Look once; never raises. What cannot be looked at stays as it was, is counted, and logged when it begins."""
        try:
            now = self._look()
            self._seen, problems = known(self._seen, now), now.problems
        except (InsessionError, OSError) as error:
            problems = [str(error)]
        except Exception:
            log.exception("supply_look_failed")
            problems = ["a fault of insession, which the log has"]
        if len(problems) > len(self._problems or ()):  # what they say differs each time, by the milliseconds in it
            log.warning("supply_not_seen", problems=problems)
        self._problems = problems

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges; none before the first look."""
        if self._problems is None:
            return
        what = "What could not be looked at; its values are those of before."
        yield GaugeMetricFamily("insession_supply_problems", what, len(self._problems))
        if self._seen is not None:
            yield from families(self._seen)


@contextmanager
def exported(settings: Settings) -> Iterator[None]:
    """Serve `/metrics` at `pipeline.web_host` and `pipeline.web_port` until the end, and look each minute.

    Port 0: do nothing. Raises WebPortError where the address cannot be had.
    """
    host, port = settings.pipeline.web_host, settings.pipeline.web_port
    if port == 0:
        yield
        return
    exporter, registry, ended = SupplyExporter(lambda: supply_status(settings)), CollectorRegistry(), threading.Event()
    registry.register(exporter)

    def look_on() -> None:
        while not ended.is_set():
            exporter.look()
            ended.wait(_LOOK_SECONDS)

    looking = threading.Thread(target=look_on, name="supply", daemon=True)
    with WebPort(host, port, MetricsPage(registry).add_to, section="pipeline").running_beside():
        looking.start()
        try:
            yield
        finally:
            ended.set()
            looking.join(_STOP_SECONDS)  # it may be at a Bus that does not answer


def _moment(name: str, what: str, moment: datetime | None) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"insession_supply_{name}_timestamp_seconds", f"{what}, Unix seconds.")
    if moment is not None:
        family.add_metric([], moment.timestamp())
    return family
