"""The demo end to end, on a tiny shop: broker, server and worker as they ship."""

import asyncio
import io
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from rich.console import Console

from agents.demo.run import DemoOptions, run_demo
from agents.demo.source import LogOptions, ShopOptions
from agents.interruption import Interruption
from agents.replay import replay_log
from agents.settings import Settings
from agents.shop.settings import FlashSaleSettings, ShopSettings
from agents.shop.traffic import generate_events
from schemas import wire
from schemas.ids import EventId, ItemIndex
from schemas.records import RecommendationSet
from schemas.servable import DEFAULT_MODEL_NAME
from serving.embedded.options import ServerOptions
from serving.embedded_process import EmbeddedServer
from serving.settings import ServingSettings
from session_model.data.formats import DataFormat, read_events, read_sessions
from session_model.evaluation.ranking import PUBLISHED, HeldOut, evaluate, targets
from session_model.networks.exported_model import ExportedModel
from session_model.release.copies import load_release
from session_model.release.files import newest_release

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 200


@dataclass(frozen=True)
class Ran:
    """A finished run: what `--json` says, where it wrote, what it printed."""

    report: dict[str, Any]
    run_dir: Path
    printed: str

    @property
    def models(self) -> Path:
        """The one models directory that it made."""
        (models,) = (self.run_dir / "models").iterdir()
        return models


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Run the demo once, training included."""
    run_dir = tmp_path_factory.mktemp("demo")
    sales = FlashSaleSettings(
        every=timedelta(minutes=1), duration=timedelta(seconds=20), n_items=3, surge=0.5, sells_out=True
    )
    shop = ShopOptions(settings=ShopSettings(n_items=240), training_events=2_000, live_sales=sales)
    options = DemoOptions(source=shop, speed=20.0, seconds=5.0, run_dir=run_dir)
    printed = io.StringIO()
    with Interruption() as interruption:
        result = run_demo(options, Console(file=printed, width=200), interruption)
    return Ran(json.loads(result.encoded()), run_dir, printed.getvalue())


@pytest.fixture(scope="module")
def served(ran: Ran, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingSettings]:
    """Serve the demo's model in a process of its own."""
    options = ServerOptions(models=ran.models, port=0, op_threads=1)
    with EmbeddedServer(options, log_path=tmp_path_factory.mktemp("server") / "server.log") as server:
        yield replace(Settings().serving, address=server.address, models_directory=ran.models)


def test_every_event_has_exactly_one_record(ran: Ran) -> None:
    """Nothing is lost, nothing comes twice, and the statuses add up to the inputs."""
    report = ran.report
    assert report["events_in"] > 100
    assert (report["lost"], report["duplicate_ids"]) == (0, 0)
    assert sum(report["records"].values()) + report["dead_lettered"] == report["events_in"]


def test_a_vendors_records_are_all_answered_and_pages_are_not(ran: Ran, tmp_path: Path) -> None:
    """The same way from click to answer, read by the mapping that the doctor proposes of a sample."""
    shop = ShopOptions(settings=ShopSettings(n_items=240), training_events=2_000)
    options = DemoOptions(source=shop, speed=20.0, seconds=4.0, run_dir=tmp_path, models=ran.models, shape="ga4")
    with Interruption() as interruption:
        report = run_demo(options, Console(file=io.StringIO()), interruption).report
    assert report.interactions > 30
    assert report.ignored > 10
    assert (report.lost, report.dead_lettered, report.ignored_with_record, report.duplicate_ids) == (0, 0, 0, 0)
    assert sum(report.records.values()) == report.events_in - report.ignored
    assert 'format = "ga4"' in (tmp_path / "mapping.toml").read_text()


def test_every_answer_has_a_tier_and_the_model_gives_some(ran: Ran) -> None:
    """Answers are those of what is answered at all: duplicates, replays and ends have none."""
    report = ran.report
    unanswered = {"duplicate", "replayed", "ended"}
    answers = sum(count for status, count in report["records"].items() if status not in unanswered)
    assert sum(report["answers_by_tier"].values()) == answers
    assert report["answers_by_tier"]["model"] > 0


def test_scores_are_there_and_are_shares(ran: Ran) -> None:
    """Hit rates of both sides over the same targets, intent against the truth, latency in order."""
    rates, latency = ran.report["hit_rate_at_20"], ran.report["latency_seconds"]
    assert rates["targets"] > 0
    assert 0 <= rates["popular"] <= 1
    assert 0 < rates["model"] <= 1
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    assert ran.report["events_per_second"] > 0
    assert ran.report["intent"]["signals"] > 0


def test_trending_sales_and_a_rule_are_told(ran: Ran) -> None:
    """The observer's lists are of now, a sale comes and goes, its items go with it, and a rule is in force."""
    trending, sales = ran.report["trending"], ran.report["sales"]
    assert trending["locations"] >= 5
    assert trending["items"] >= 20
    assert 0 <= trending["age_seconds"] < 30
    assert sales
    assert {sale["items"] for sale in sales} == {3}, sales
    assert {sale["after"] for sale in sales} <= {None, 0.0}, sales
    assert ran.report["unavailable_emitted"] == 0
    assert ran.report["rules"]["in_force"] == 1
    assert "flash sale in" in ran.printed
    assert "rule put:" in ran.printed


def test_the_recommendations_are_left_in_a_file(ran: Ran) -> None:
    """One RecommendationSet a line, as many as were counted."""
    lines = (ran.run_dir / "recommendations.jsonl").read_bytes().splitlines()
    assert len({wire.decode_recommendation_set(line).id for line in lines}) == sum(ran.report["records"].values())


def test_what_was_fed_and_trained_on_is_said(ran: Ran) -> None:
    """A person need not guess what the figures are figures of."""
    assert "simulated shoppers" in ran.printed
    assert "trained on the first 2,000 events" in ran.printed
    assert "watch it live: http://127.0.0.1:" in ran.printed
    assert list(ran.run_dir.glob("state-*")) == []


def test_ctrl_c_ends_a_log_with_the_table_and_no_orphan(ran: Ran, tmp_path: Path) -> None:
    """The model of another run is taken, the report says that it was interrupted, and the exit code is 0."""
    log = ran.run_dir / "training" / f"{ran.models.name}.jsonl.gz"
    command = [sys.executable, "-m", "agents", "demo", "--events", str(log), "--format", "jsonl", "--speed", "5"]
    command += ["--models", str(ran.models), "--run-dir", str(tmp_path / "run"), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        seen = next(line for line in demo.stderr if "in flight" in line or "insession:" in line)
        children = psutil.Process(demo.pid).children(recursive=True)
        os.kill(demo.pid, signal.SIGINT)
        output, errors = demo.communicate(timeout=PATIENCE_SECONDS)
    assert "in flight" in seen
    assert demo.returncode == 0, errors
    report = json.loads(output)
    assert (report["was_interrupted"], report["lost"]) == (True, 0)
    assert "what was seen until the interruption" in errors
    assert "Traceback" not in errors
    assert len(children) >= 3
    assert psutil.wait_procs(children, timeout=PATIENCE_SECONDS)[1] == []


def _model_answers(path: Path) -> dict[str, RecommendationSet]:
    """Read what the model tier answered, by the click that it answers."""
    records = map(wire.decode_recommendation_set, path.read_bytes().splitlines())
    return {r.event_id: r for r in records if r.status == "answered" and r.tier == "model"}


def _replayed(log: Path, data_format: DataFormat, serving: ServingSettings, out: Path) -> Path:
    """Replay `log`; gives the file of the answers."""
    out.mkdir()
    settings = replace(Settings(), serving=serving)
    asyncio.run(replay_log(read_events(log, data_format), settings, out, lambda _: None))
    return out / "recommendations.jsonl"


def test_live_answers_equal_the_replay_of_the_same_log(ran: Ran, served: ServingSettings, tmp_path: Path) -> None:
    """Over one log and one release, worker and replay give the same items, with scores within 1e-4."""
    traffic = generate_events(ShopSettings(n_items=240, seed=3), timedelta(minutes=2))
    clicks = {event.click.event_id: event.click for event in traffic if not event.truth.is_late}
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"\n".join(wire.encode(click) for click in clicks.values()) + b"\n")

    fed = LogOptions(path=log, data_format="jsonl")
    live_options = DemoOptions(
        source=fed, speed=math.inf, seconds=math.inf, run_dir=tmp_path / "live", models=ran.models
    )
    with Interruption() as interruption:
        run_demo(live_options, Console(file=io.StringIO()), interruption)
    live = _model_answers(tmp_path / "live" / "recommendations.jsonl")
    replayed = _model_answers(_replayed(log, "jsonl", served, tmp_path / "replay"))
    compared = live.keys() & replayed.keys()
    assert len(compared) > 50  # of clicks as fast as they go; a busy machine answers the others without the model
    for event_id in compared:
        ours, theirs = live[event_id].items, replayed[event_id].items
        assert [item.item_id for item in ours] == [item.item_id for item in theirs]
        assert [item.score for item in ours] == pytest.approx([item.score for item in theirs], abs=1e-4)


def test_what_evaluate_scores_is_what_is_emitted(ran: Ran, served: ServingSettings, tmp_path: Path) -> None:
    """For each prefix the blend that `evaluate` ranks is the list on the topic, so both count the same hits.

    Items that nobody clicked in training are in the prefixes, some of them alone.
    """
    release = load_release(newest_release(ran.models / DEFAULT_MODEL_NAME))
    assert release.parts.cold_start is not None
    cold, rng = release.parts.cold_start.items.item_ids, np.random.default_rng(1)
    assert cold
    items = [*release.parts.vocabulary.item_ids, *cold]
    drawn = [rng.choice(items, size).tolist() for size in rng.integers(1, 25, 40)]
    drawn += [[item, *rng.choice(items, 3)] for item in cold]
    log = tmp_path / "sessions.txt"
    log.write_text("".join(" ".join(row) + "\n" for row in drawn))
    answers = _model_answers(_replayed(log, "sequences", served, tmp_path / "replay"))

    sessions = read_sessions(log, "sequences")
    model = ExportedModel.of(release)
    asked = list(targets(release, sessions, PUBLISHED))
    hits = 0
    for target, ranking in zip(asked, model.rank([target.prefix for target in asked]), strict=True):
        prefix = target.prefix.items
        blend = release.blend(ranking, release.neighbours(prefix), prefix)
        emitted = answers[EventId(f"{sessions.session_ids[target.session]}-{target.position - 1}")].items
        names = [release.item_id(ItemIndex(index)) for index in blend.item_indices[: len(emitted)].tolist()]
        assert [item.item_id for item in emitted] == names
        assert [item.score for item in emitted] == pytest.approx(blend.scores[: len(emitted)].tolist(), abs=1e-4)
        hits += release.item_id(target.item_index) in names[:20]
    assert any(target.prefix.is_by_content for target in asked)
    result = evaluate(release, model, HeldOut(log.name, sessions))
    assert result.models["blend"]["recall_at_20"] == pytest.approx(hits / len(asked))
