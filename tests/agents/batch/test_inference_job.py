"""Lists by Spark are what the worker would answer: held against `insession replay` of the same clicks."""

import asyncio
import gzip
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from confluent_kafka import Producer
from msgspec.structs import replace as replace_fields

from agents.batch.inference_job import InferenceJob, run_inference
from agents.batch.parts import MANIFEST
from agents.cli import insession
from agents.replay import replay_log
from agents.settings import Settings
from agents.shop.catalog import catalog
from agents.shop.settings import ShopSettings
from agents.shop.traffic import generate_events
from schemas import wire
from schemas.errors import InsessionError
from schemas.events import ClickEvent, unix_ms
from schemas.records import IntentSignal, RecommendationSet, SessionEvent, SessionSummary, VisitorRecommendations
from schemas.topic_url import parse_topic_url
from serving.embedded.options import ServerOptions
from serving.embedded_process import EmbeddedServer
from session_model.registry.mlflow_registry import MlflowRegistry
from session_model.release.rollout import Moves
from streams.local.embedded_broker import EmbeddedBroker
from tests.serving.rules.builders import rule

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(900)]

SHOP = ShopSettings(n_items=240, seed=7, sessions_per_hour=300)
EARLIER = 2_000
"""Events that are learned from; later ones are replayed."""


@dataclass(frozen=True)
class Replayed:
    """A release, and what a replay of later clicks with it has written."""

    release: Path
    catalog: Path
    out: Path

    @property
    def sessions(self) -> Path:
        """Return the file of session ends."""
        return self.out / "session-ends.jsonl"

    def ends(self) -> list[SessionSummary]:
        """Return them."""
        return list(map(wire.decode_session_summary, self.sessions.read_bytes().splitlines()))

    def answers(self) -> dict[str, RecommendationSet]:
        """Return the last answer of each session."""
        lines = (self.out / "recommendations.jsonl").read_bytes().splitlines()
        answers = map(wire.decode_recommendation_set, lines)
        return {str(one.session_id): one for one in answers if one.status == "answered"}

    def intents(self) -> dict[str, IntentSignal]:
        """Return the last signal of each session."""
        lines = (self.out / "intent-signals.jsonl").read_bytes().splitlines()
        return {signal.session_id: signal for signal in map(wire.decode_intent_signal, lines)}


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    """Train on a shop's first events, and replay the next ones with the catalog."""
    folder = tmp_path_factory.mktemp("replayed")
    events: Iterator[Any] = generate_events(SHOP)
    clicks: list[ClickEvent] = sorted(
        (event.click for event in islice(events, 2 * EARLIER)), key=lambda click: click.event_time_ms
    )
    described = catalog(SHOP)
    (folder / "catalog.jsonl").write_bytes(b"".join(wire.encode(item) + b"\n" for item in described))
    (folder / "log.jsonl").write_bytes(b"".join(wire.encode(click) + b"\n" for click in clicks[:EARLIER]))
    options = ["--format", "jsonl", "--preset", "small", "--epochs", "1", "--catalog", folder / "catalog.jsonl"]
    arguments = ["train", folder / "log.jsonl", "--out", folder / "models", *options]
    trained = CliRunner().invoke(insession, list(map(str, arguments)))
    assert trained.exit_code == 0, trained.output
    out = folder / "out"
    out.mkdir()
    with EmbeddedServer(
        ServerOptions(models=folder / "models", port=0, op_threads=1), log_path=folder / "log"
    ) as server:
        serving = replace(Settings().serving, address=server.address, models_directory=folder / "models")
        settings = replace(Settings(), serving=serving)
        asyncio.run(replay_log(clicks[EARLIER:], settings, out, lambda _: None, described))
    return Replayed(folder / "models" / "session_gru" / "1", folder / "catalog.jsonl", out)


def lists_of(out: Path) -> dict[str, VisitorRecommendations]:
    """Read the lists by visitor."""
    lines = [line for path in out.glob("part-*") for line in gzip.decompress(path.read_bytes()).splitlines()]
    lists = list(map(wire.decode_visitor_recommendations, lines))
    by_visitor = {one.visitor_key: one for one in lists}
    assert len(by_visitor) == len(lists)
    return by_visitor


def test_every_list_is_the_worker_s_after_the_same_session(
    spark: "SparkSession", replayed: Replayed, tmp_path: Path
) -> None:
    """Items and order are equal, scores and intent to 1e-4, of the latest session of each visitor that is no bot."""
    job = InferenceJob(replayed.sessions, replayed.release, tmp_path / "out", replayed.catalog)
    manifest = run_inference(spark, job, Settings())
    lists, answers, intents = lists_of(tmp_path / "out"), replayed.answers(), replayed.intents()
    people = [end for end in replayed.ends() if not end.is_bot]
    latest = {end.visitor_key: end for end in sorted(people, key=lambda end: end.ended_at)}
    assert lists.keys() == latest.keys()
    assert len(lists) > 100
    assert len(people) > len(latest)
    for visitor_key, one in lists.items():
        answer, intent = answers[one.session_id], intents[one.session_id]
        assert one.session_id == latest[visitor_key].session_id
        assert [item.item_id for item in one.items] == [item.item_id for item in answer.items]
        assert [item.score for item in one.items] == pytest.approx([item.score for item in answer.items], abs=1e-4)
        assert (one.tier, one.reason, one.model_version) == (answer.tier, answer.reason, answer.model_version)
        assert one.purchase_source == intent.purchase_source
        ours = (one.purchase_probability, one.leave_probability, one.cart_abandonment_probability)
        theirs = (intent.purchase_probability, intent.leave_probability, intent.cart_abandonment_probability)
        assert ours == pytest.approx(theirs, abs=1e-4)
    n_bots = len(replayed.ends()) - len(people)
    assert manifest["by_tier"]["model"] > 100
    assert manifest["visitors"] == sum(manifest["by_tier"].values()) == len(lists)
    assert manifest["sessions"] == len(replayed.ends())
    assert manifest["left_out"] == {"earlier sessions": len(people) - len(lists)} | (
        {"sessions of bots": n_bots} if n_bots else {}
    )


def test_what_was_bought_before_is_not_recommended_and_bots_get_no_list(
    spark: "SparkSession", replayed: Replayed, tmp_path: Path
) -> None:
    """The same session has another list after a purchase in an earlier one, even where that one became a bot's."""
    one = next(end for end in replayed.ends() if not end.is_bot and replayed.answers()[end.session_id].tier == "model")
    first_item = replayed.answers()[one.session_id].items[0].item_id
    begun_ms = one.events[0].time_ms
    before = msgspec.structs.replace(
        one, id="before", ended_at=one.started_at, events=[SessionEvent("purchase", begun_ms, first_item)]
    )
    sessions = {
        "buyer": (before, one),
        "bot": (msgspec.structs.replace(before, is_bot=True), one),
        "new": (one,),
        "only-bot": (msgspec.structs.replace(one, is_bot=True),),
    }
    lines = [
        wire.encode(msgspec.structs.replace(end, visitor_key=name, id=f"{end.id}-{name}"))
        for name, ends in sessions.items()
        for end in ends
    ]
    (tmp_path / "sessions.jsonl").write_bytes(b"\n".join([*lines, lines[0]]))
    job = InferenceJob(tmp_path / "sessions.jsonl", replayed.release, tmp_path / "out", replayed.catalog)
    manifest = run_inference(spark, job, Settings())
    lists = lists_of(tmp_path / "out")
    items = {name: [item.item_id for item in one.items] for name, one in lists.items()}
    assert items["new"][0] == first_item
    assert items["buyer"] == items["bot"]
    assert items["buyer"][:10] == items["new"][1:11]
    assert "only-bot" not in items
    assert manifest["left_out"] == {"sessions of bots": 2, "earlier sessions": 1, "repeated records": 1}


def test_a_bad_row_is_counted_and_the_rest_is_answered(
    spark: "SparkSession", replayed: Replayed, tmp_path: Path
) -> None:
    """What is no JSON, no UTF-8, too long, or lacks what a session end has; where there is nothing else, it is said."""
    good = replayed.sessions.read_bytes().splitlines()[:20]
    without_events = json.dumps({**json.loads(good[0]), "events": None}).encode()
    bad = [b"{", b"\xff\xff", b"x" * (1 << 20) + b"x", b"{}", without_events]
    (tmp_path / "sessions.jsonl").write_bytes(b"\n".join([*bad, *good]))
    job = InferenceJob(tmp_path / "sessions.jsonl", replayed.release, tmp_path / "out")
    manifest = run_inference(spark, job, Settings())
    assert manifest["left_out"]["malformed"] == 5
    assert manifest["sessions"] == 20
    (tmp_path / "sessions.jsonl").write_bytes(b"\n".join(bad))
    with pytest.raises(InsessionError, match=r"holds no session of a person \(malformed 5\)"):
        run_inference(spark, replace(job, out=tmp_path / "none"), Settings())
    assert not (tmp_path / "none" / MANIFEST).exists()


def test_another_run_is_the_same_to_the_byte_and_a_table_says_the_same(
    spark: "SparkSession", replayed: Replayed, tmp_path: Path
) -> None:
    """So a task that runs again writes what it wrote; Parquet has the fields of the records as columns."""
    job = InferenceJob(replayed.sessions, replayed.release, tmp_path / "first", replayed.catalog)
    first = run_inference(spark, job, Settings())
    second = run_inference(spark, replace(job, out=tmp_path / "second"), Settings())
    assert first["parts"] == second["parts"]
    table = replace(job, out=tmp_path / "table", output_format="parquet")
    run_inference(spark, table, Settings())
    rows = pq.read_table(tmp_path / "table").to_pylist()
    found = {row["visitor_key"]: msgspec.convert(row, VisitorRecommendations) for row in rows}
    assert found == lists_of(tmp_path / "first")


def test_a_list_holds_what_is_there_when_it_is_shown_and_obeys_the_rules_of_then(
    spark: "SparkSession", replayed: Replayed, tmp_path: Path
) -> None:
    """And says until when; of what goes before, or is blocked then, no list has anything."""
    shown, ends = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC)
    job = InferenceJob(replayed.sessions, replayed.release, tmp_path / "before", replayed.catalog)
    run_inference(spark, job, Settings())
    counts = Counter(item.item_id for one in lists_of(tmp_path / "before").values() for item in one.items)
    going, gone, blocked, later = (item_id for item_id, _ in counts.most_common(4))
    times = {going: ends, gone: shown}
    described = [replace_fields(item, available_until=times.get(item.item_id)) for item in catalog(SHOP)]
    (tmp_path / "catalog.jsonl").write_bytes(b"".join(wire.encode(item) + b"\n" for item in described))
    rules = [
        rule("block", "block", items=blocked, starts_at=shown),
        rule("later", "block", items=later, starts_at=ends),
        rule("pin", "pin", items="sofa", position=3),
    ]
    at_ms = unix_ms(shown)
    job = replace(job, out=tmp_path / "out", catalog=tmp_path / "catalog.jsonl", rules=rules, at_ms=at_ms)
    manifest = run_inference(spark, job, Settings())
    assert manifest["as_of"] == "2026-03-02T00:00:00+00:00"
    lists = list(lists_of(tmp_path / "out").values())
    listed = Counter(item.item_id for one in lists for item in one.items)
    assert not listed.keys() & {gone, blocked}
    assert listed[going] > 0
    assert listed[later] > 0
    for one in lists:
        assert (one.items[2].item_id, one.items[2].rule) == ("sofa", "pin")
        assert one.rules in (["pin"], ["block", "pin"])
        assert one.valid_until == (ends if going in {item.item_id for item in one.items} else None)


def test_the_topic_gives_the_same_lists(spark: "SparkSession", replayed: Replayed, tmp_path: Path) -> None:
    """Its records are those that the worker has written; one of something else is counted, a tombstone is nothing."""
    job = InferenceJob(replayed.sessions, replayed.release, tmp_path / "files", replayed.catalog)
    of_files = run_inference(spark, job, Settings())
    with EmbeddedBroker() as broker:
        producer = Producer({"bootstrap.servers": broker.address})
        for end in replayed.ends():
            producer.produce("session-ends", wire.encode(end), end.visitor_key)
        producer.produce("session-ends", b'{"user": "a"}', "a")
        producer.produce("session-ends", None, "b")
        assert producer.flush(30) == 0
        settings = replace(Settings(), kafka=replace(Settings().kafka, brokers=broker.address))
        topic = replace(job, source=parse_topic_url(f"kafka://{broker.address}/session-ends"), out=tmp_path / "topic")
        of_topic = run_inference(spark, topic, settings)
    assert of_topic["left_out"].pop("malformed") == 1
    assert of_topic["left_out"] == of_files["left_out"]
    assert lists_of(tmp_path / "topic") == lists_of(tmp_path / "files")


@pytest.mark.filterwarnings("ignore")  # of MLflow's own, which are no errors for its users
def test_the_champion_gives_the_same_lists_by_the_command_and_by_mlflow(replayed: Replayed, tmp_path: Path) -> None:
    """The command takes it from the registry and says on standard output what it did, and nothing else."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    registry = MlflowRegistry(uri, "session_gru")
    version = registry.register(replayed.release).version
    registry.follow(Moves(None, datetime(2026, 1, 1, tzinfo=UTC), "ana").promote(version, ""))
    release = ["--release", "models:/session_gru@champion", "--registry", uri]
    options = [*release, "--out", str(tmp_path / "lists"), "--master", "local[2]", "--json"]
    command = [sys.executable, "-m", "agents", "infer", str(replayed.sessions), *options]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert ended.returncode == 0, ended.stderr
    manifest, lists = json.loads(ended.stdout), lists_of(tmp_path / "lists")
    assert (manifest["visitors"], manifest["model_version"]) == (len(lists), 1)
    assert manifest["cpu_ms_per_visitor"] > 0

    import mlflow.pyfunc

    mlflow.set_registry_uri(uri)
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model("models:/session_gru@champion")
    ends = [end for end in replayed.ends() if end.session_id in {one.session_id for one in lists.values()}]
    rows = [
        {
            "items": [event.item_id for event in end.events if event.event_type == "view"],
            "bought": [event.item_id for event in end.events if event.event_type == "purchase"],
        }
        for end in ends
    ]
    answers = model.predict(pd.DataFrame(rows))
    for end, items, scores in zip(ends, answers["items"], answers["scores"], strict=True):
        found = lists[end.visitor_key].items
        assert [item.item_id for item in found] == list(items)
        assert [item.score for item in found] == pytest.approx(list(scores), abs=1e-4)
    one = model.predict({"items": rows[0]["items"]})
    assert len(one) == 1
