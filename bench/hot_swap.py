"""What shoppers notice while a release takes over: `python -m bench.hot_swap`.

The serving side of a worker, wired as the worker does, asks the embedded model server at a steady rate, and answers are
timed from when each was due: one that waits behind another counts its wait. No Kafka: the swap is all that differs.
"""

import asyncio
import json
import logging
import os
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import structlog
from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.table import Table

from agents.artifact_bus import open_bus
from agents.clicks.shadow import AT_MOST
from agents.progress_bar import counted_progress
from agents.serving_tier import ServingTier, serving_tier
from agents.settings import ClickstreamSettings
from agents.shop.settings import ShopSettings
from agents.shop.traffic import generate_events
from bench.commands import run_bench
from bench.release import trained_releases
from bench.traffic import BEGIN
from schemas.errors import InsessionError
from schemas.ids import ModelVersion, VisitorId
from schemas.records import SessionEvent
from schemas.rollout import Rollout
from schemas.servable import DEFAULT_MODEL_NAME
from serving.chain import Answer, AnswerRequest
from serving.embedded.options import ServerOptions
from serving.embedded_process import EmbeddedServer
from serving.settings import ServingSettings
from session_model.release.rollout import Moves
from session_model.release.rollout_log import RolloutLog
from streams.catalog import Catalog

CACHE = Path(".bench") / "hot-swap"
WARM_UP_SECONDS = 5.0
FIRST_SECONDS = 1.0
"""Of the new release, that belong to the swap: what is cold about it shows there."""
STUCK_SECONDS = 60.0
N_REQUESTS = 5_000
LAST_EVENTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a swap is measured.

    rate: questions a second. seconds: of each steady phase. has_shadow: the second release is a shadow before;
    otherwise it comes together with its promotion. budget_seconds: for the model, from when an answer is due.
    """

    rate: float
    seconds: float
    has_shadow: bool
    warm_up_seconds: float = WARM_UP_SECONDS
    budget_seconds: float = ClickstreamSettings().freshness_budget.total_seconds()


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer; seconds of the monotonic clock."""

    due: float
    took: float
    version: ModelVersion | None
    tier: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Phase:
    """The answers that were due from `begin` to `end`, seconds of the monotonic clock."""

    name: str
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """What shoppers saw in a phase. lower_tiers: answers that are not the model's, by tier and reason."""

    phase: str
    seconds: float
    answers: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    by_version: dict[str, int]
    lower_tiers: dict[str, int]


@dataclass(slots=True)
class Swap:
    """What happened from the one release to the other. due: questions that were asked."""

    phases: list[Phase] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    due: int = 0

    def figures(self) -> list[PhaseFigures]:
        """Sum up by phase."""
        return list(map(self._of, self.phases))

    def _of(self, phase: Phase) -> PhaseFigures:
        asked = [one for one in self.asked if phase.begin <= one.due < phase.end]
        p50, p99, most = np.percentile([one.took * 1000 for one in asked], [50, 99, 100]).tolist()
        versions = Counter(str(one.version) for one in asked)
        lower = Counter(f"{one.tier} ({one.reason})" for one in asked if one.tier != "model")
        seconds = phase.end - phase.begin
        return PhaseFigures(phase.name, seconds, len(asked), p50, p99, most, dict(versions), dict(lower))


class Models:
    """A models directory whose releases come as `release fetch` brings them: whole, by a rename, before their record.

    `first` is there and promoted.
    """

    def __init__(self, directory: Path, first: Path, second: Path) -> None:
        self.directory = directory
        self._folder = directory / DEFAULT_MODEL_NAME
        for release in (first, second):
            shutil.copytree(release, self._folder / f".{release.name}")
        self._log = RolloutLog(open_bus(str(directory)), DEFAULT_MODEL_NAME)
        version = self.bring(first)
        self.change(lambda moves: moves.promote(version, "bench"))

    def bring(self, release: Path) -> ModelVersion:
        """Let a release appear."""
        (self._folder / f".{release.name}").rename(self._folder / release.name)
        return ModelVersion(int(release.name))

    def change(self, move: Callable[[Moves], Rollout]) -> None:
        """Write a record."""
        self._log.append(move(Moves(self._log.in_force(), datetime.now(UTC), "bench")))


class Load:
    """Questions at a steady rate, until `stop`, whatever becomes of the answers; a shadow is asked after each."""

    def __init__(self, tier: ServingTier, requests: Sequence[AnswerRequest], plan: Plan) -> None:
        self._tier = tier
        self._requests = requests
        self._plan = plan
        self._stopped = False
        self._answering: set[asyncio.Task[None]] = set()
        self._shadows: set[asyncio.Task[Answer]] = set()
        self.swap = Swap()

    async def run(self) -> None:
        """Ask, and wait for the last answers."""
        begin = time.monotonic()
        for number, request in enumerate(cycle(self._requests)):
            due = begin + number / self._plan.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self._stopped:
                break
            self.swap.due += 1
            task = asyncio.create_task(self._ask(request, due))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        await asyncio.gather(*self._answering, *self._shadows)

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True

    async def _ask(self, request: AnswerRequest, due: float) -> None:
        answer = await self._tier.tried.answer(replace(request, deadline=due + self._plan.budget_seconds))
        took = time.monotonic() - due
        self.swap.asked.append(Asked(due, took, answer.model_version, answer.tier, answer.reason))
        if self._tier.tried.is_shadowed(request.visitor_id) and len(self._shadows) < AT_MOST:
            later = replace(request, deadline=time.monotonic() + self._plan.budget_seconds)
            shadow = asyncio.create_task(self._tier.tried.candidate.answer(later))
            self._shadows.add(shadow)
            shadow.add_done_callback(self._shadows.discard)


async def swapped_under_load(
    models: Models, server: str, second: Path, requests: Sequence[AnswerRequest], plan: Plan, *, copies: Path
) -> Swap:
    """Ask `server` for answers at a steady rate while the release `second` takes over from the one that serves.

    copies: folder for the worker's copies of releases.
    """
    settings = ServingSettings(address=server, models_directory=models.directory)
    tier = serving_tier(settings, Catalog(require_catalog=False), CollectorRegistry(), copies=copies)
    async with tier.running():
        load = Load(tier, requests, plan)
        asking = asyncio.create_task(load.run())
        await asyncio.sleep(plan.warm_up_seconds)
        phases = load.swap.phases
        await _steady(phases, "before", plan.seconds)
        begin = time.monotonic()
        version = models.bring(second)
        if plan.has_shadow:
            models.change(lambda moves: moves.trial(version, "shadow", 1.0, "bench"))
            await _until(lambda: tier.releases.trial is not None, "the shadow is asked")
            phases.append(Phase("shadow start", begin, time.monotonic()))
            await _steady(phases, "shadow", plan.seconds)
            begin = time.monotonic()
        models.change(lambda moves: moves.promote(version, "bench"))
        await _until(lambda: _version(tier) == version, "the second release serves")
        await asyncio.sleep(FIRST_SECONDS)
        phases.append(Phase("swap", begin, time.monotonic()))
        await _steady(phases, "after", plan.seconds)
        load.stop()
        await asking
    return load.swap


async def _steady(phases: list[Phase], name: str, seconds: float) -> None:
    begin = time.monotonic()
    await asyncio.sleep(seconds)
    phases.append(Phase(name, begin, time.monotonic()))


async def _until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + STUCK_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise InsessionError(f"{what}: not within {STUCK_SECONDS:.0f} s; the model server's log says why")
        await asyncio.sleep(0.01)


def _version(tier: ServingTier) -> ModelVersion | None:
    return None if tier.releases.current is None else tier.releases.current.version


def shop_requests(number: int) -> list[AnswerRequest]:
    """Return what is asked after each view of the generated shop's people, from behind the training data on."""
    sessions = defaultdict[VisitorId, list[SessionEvent]](list)
    requests: list[AnswerRequest] = []
    for event in generate_events(ShopSettings(), begin=BEGIN):
        if len(requests) == number:
            break
        click_ = event.click
        if event.truth.is_bot or click_.event_type != "view":
            continue
        session = sessions[click_.visitor_id]
        session.append(SessionEvent("view", click_.event_time_ms, click_.item_id, click_.price))
        requests.append(
            AnswerRequest(
                events=tuple(session[-LAST_EVENTS:]),
                location=click_.location,
                bought=(),
                deadline=0.0,
                want_personal=True,
                visitor_id=click_.visitor_id,
            )
        )
    return requests


@click.command(
    epilog="""\b
Example:
  python -m bench.hot_swap --rate 100 --rounds 5 --json
"""
)
@click.option("--rate", type=click.FloatRange(min=1), default=100, show_default=True, help="Questions a second.")
@click.option("--seconds", type=click.FloatRange(min=1), default=10, show_default=True, help="Of each steady phase.")
@click.option(
    "--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Swaps; the table has medians."
)
@click.option("--shadow/--straight", "has_shadow", default=True, help="A shadow first, or promoted as it comes.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures of all rounds as JSON instead of a table.")
def command(*, rounds: int, as_json: bool, **options: Any) -> None:
    """Promote a second release of the generated shop under load, and print what shoppers noticed."""
    plan = Plan(**options)
    CACHE.mkdir(parents=True, exist_ok=True)
    first, second = trained_releases(CACHE, 2)
    requests = shop_requests(N_REQUESTS)
    swaps = []
    with counted_progress() as bar:
        task = bar.add_task("rounds", total=rounds)
        for _ in range(rounds):
            swaps.append(_round(first, second, requests, plan).figures())
            bar.advance(task)
    if as_json:
        settings = {**asdict(plan), "cpu_count": os.cpu_count()}
        figures = [[asdict(phase) for phase in phases] for phases in swaps]
        click.echo(json.dumps({"settings": settings, "rounds": figures}, indent=2))
    else:
        Console().print(_table(swaps, plan.rate))


def _round(first: Path, second: Path, requests: Sequence[AnswerRequest], plan: Plan) -> Swap:
    with TemporaryDirectory() as folder:
        models = Models(Path(folder, "models"), first, second)
        options = ServerOptions(models=models.directory, port=0)
        with EmbeddedServer(options, log_path=CACHE / "model-server.log") as server:
            swapping = swapped_under_load(models, server.address, second, requests, plan, copies=Path(folder, "copies"))
            return asyncio.run(swapping)


def _table(swaps: Sequence[Sequence[PhaseFigures]], rate: float) -> Table:
    """Draw the medians over the rounds; answers are those of all."""
    title = f"{rate:g} questions a second, {len(swaps)} rounds; ms from when each was due, medians of the rounds"
    table = Table(title=title, title_justify="left", min_width=len(title))
    table.add_column("phase", no_wrap=True)
    for heading in ("seconds", "answers", "by version", "lower tiers", "p50", "p99", "max"):
        table.add_column(heading, justify="right")
    for rounds in zip(*swaps, strict=True):
        medians = (median(getattr(one, name) for one in rounds) for name in ("p50_ms", "p99_ms", "max_ms"))
        versions, lower = (
            sum((Counter(getattr(one, name)) for one in rounds), Counter[str]())
            for name in ("by_version", "lower_tiers")
        )
        table.add_row(
            rounds[0].phase,
            f"{median(one.seconds for one in rounds):.1f}",
            str(sum(one.answers for one in rounds)),
            ", ".join(f"{version}: {count}" for version, count in sorted(versions.items())),
            ", ".join(f"{why} {count}" for why, count in lower.items()) or "0",
            *(f"{value:.0f}" for value in medians),
        )
    return table


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    run_bench(command)
