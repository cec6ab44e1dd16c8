"""`insession evaluate`, with a stand-in for the SavedModel."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from agents.cli import insession
from agents.commands import evaluate as evaluate_command
from schemas.errors import InsessionError, UsageError
from schemas.ranking import Candidates, ModelInput
from session_model.data.formats import read_sessions
from session_model.data.training_overlap import TrainedSessions
from session_model.intent.model import IntentModel
from session_model.release.files import write_parts
from session_model.release.release import Release
from tests.builders.releases import release_facts, release_parts
from tests.session_model.intents import purchase_only

ITEMS = np.array([1, 2, 3, 2, 3], np.int32)


class AlwaysTheThird:
    """A model that only ever recommends item 3."""

    def __init__(self, directory: Path, max_length: int) -> None:
        self.read_from = directory
        self.max_length = max_length

    @classmethod
    def of(cls, release: Release) -> "AlwaysTheThird":
        """Take what `ExportedModel` takes."""
        return cls(release.directory, release.manifest.max_length)

    def rank(self, inputs: Sequence[ModelInput]) -> list[Candidates]:
        """Rank item 3 alone."""
        return [Candidates(np.array([3], np.int32), np.ones(1, np.float32)) for _ in inputs]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a models directory with one release of the items a, b and c."""
    monkeypatch.setattr(evaluate_command, "ExportedModel", AlwaysTheThird)
    write_release(tmp_path / "models" / "session_gru" / "1", intent=None)
    return tmp_path / "models"


def write_release(directory: Path, intent: IntentModel | None, sessions: TrainedSessions | None = None) -> None:
    """Write a release of the items a, b and c."""
    facts = release_facts(int(directory.name), candidate_count=3, sessions=sessions)
    write_parts(directory, release_parts("abc", items=ITEMS, intent=intent), facts)


@pytest.fixture
def test_file(tmp_path: Path) -> Path:
    """Write two sessions: c follows a, and an unseen item follows b."""
    path = tmp_path / "test.txt"
    path.write_text("a c\nb new\n")
    return path


@pytest.mark.parametrize("release_path", ["", "session_gru/1"])
def test_the_table_and_the_json_agree(models: Path, test_file: Path, release_path: str) -> None:
    """The newest release of a models directory, or the release itself: five models, one hit of two."""
    arguments = [str(models / release_path), str(test_file), "--format", "sequences"]
    result = CliRunner().invoke(evaluate_command.command, arguments, catch_exceptions=False)
    as_json = CliRunner().invoke(insession, ["evaluate", *arguments, "--json"], catch_exceptions=False)
    written = json.loads(as_json.stdout)
    assert (result.exit_code, as_json.exit_code) == (0, 0)
    assert "2 targets in 2 sessions, unseen items count as misses" in result.output
    assert (written["dataset"], written["targets"], written["unseen"]) == ("test.txt", 2, "miss")
    assert written["models"]["gru"]["recall_at_20"] == 0.5
    assert [name in result.output for name in written["models"]] == [True] * 5


def test_a_model_of_another_name_is_evaluated(models: Path, test_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """serving.model_name says whose newest release it is."""
    (models / "session_gru").rename(models / "mine")
    monkeypatch.setenv("INSESSION_SERVING__MODEL_NAME", "mine")
    result = CliRunner().invoke(evaluate_command.command, [str(models), str(test_file), "--format", "sequences"])
    assert result.exit_code == 0
    assert "2 targets in 2 sessions" in result.output


def test_the_same_goes_into_markdown_and_a_page(models: Path, test_file: Path, tmp_path: Path) -> None:
    """Both files hold every model and the slices."""
    outputs = [tmp_path / "evaluation.md", tmp_path / "evaluation.html"]
    arguments = [str(models), str(test_file), "--format", "sequences"]
    arguments += ["--markdown", str(outputs[0]), "--html", str(outputs[1])]
    CliRunner().invoke(evaluate_command.command, arguments, catch_exceptions=False)
    for text in (output.read_text() for output in outputs):
        assert all(name in text for name in ("transitions", "popularity", "session length", "unseen"))


def test_a_test_that_was_trained_on_is_told(models: Path, tmp_path: Path) -> None:
    """Loudly in the terminal, in every file, and in numbers; later sessions and older releases give no warning."""
    trained, later = tmp_path / "trained.txt", tmp_path / "later.txt"
    trained.write_text("a b c\nb c a\nc a b\na c b\nb a c\nc b a\n")
    later.write_text("a a b\nb b c\nc c a\na a c\nb b a\nc c b\n")
    sessions = TrainedSessions.fit(read_sessions(trained, "sequences"), ("view",))
    write_release(models / "session_gru" / "2", None, sessions)
    found = {}
    for release, test in (("2", trained), ("2", later), ("1", trained)):
        outputs = [tmp_path / f"{release}-{test.stem}.{kind}" for kind in ("md", "html")]
        arguments = [str(models / "session_gru" / release), str(test), "--format", "sequences"]
        for kind, output in zip(("markdown", "html"), outputs, strict=True):
            arguments += [f"--{kind}", str(output)]
        result = CliRunner().invoke(evaluate_command.command, arguments, catch_exceptions=False)
        as_json = CliRunner().invoke(insession, ["evaluate", *arguments, "--json"], catch_exceptions=False)
        texts = (result.output, as_json.stderr, *(output.read_text() for output in outputs))
        warnings = {"no measure of new sessions" in text for text in texts}
        found[release, test.stem] = (json.loads(as_json.stdout)["training_overlap"], warnings)
    overlap, warnings = found["2", "trained"]
    assert overlap == {"identity": "items", "compared": 6, "share": 1.0, "expected": 0.0}
    assert warnings == {True}
    assert (found["2", "later"][0]["share"], found["2", "later"][1]) == (0.0, {False})
    assert found["1", "trained"] == (None, {False})


def test_a_table_is_evaluated_by_its_columns(models: Path, tmp_path: Path) -> None:
    """`--columns` and `--event-types`, and parts by a glob."""
    (tmp_path / "part-0.csv").write_text("sid,sku,what\n1,a,pv\n1,x,page\n1,c,pv\n")
    arguments = [str(models), str(tmp_path / "part-*.csv"), "--format", "csv"]
    arguments += ["--columns", "session=sid,item=sku", "--columns", "type=what", "--event-types", "pv=view"]
    result = CliRunner().invoke(evaluate_command.command, arguments, catch_exceptions=False)
    assert "1 targets in 1 sessions" in result.output


def test_a_shops_own_json_is_evaluated_by_the_settings(models: Path, tmp_path: Path) -> None:
    """`--config` has the mapping; a path that is none of ours is wrong usage."""
    config, log = tmp_path / "insession.toml", tmp_path / "log.jsonl"
    config.write_text('[clickstream.mapping.paths]\nvisitor_id = "who"\nitem_id = "what.sku"\n')
    lines = [
        {"who": 7, "event_type": "view", "event_time": 1_700_000_000 + n, "what": {"sku": "ac"[n]}} for n in (0, 1)
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = [str(models), str(log), "--format", "jsonl", "--config"]
    result = CliRunner().invoke(evaluate_command.command, [*arguments, str(config)], catch_exceptions=False)
    assert "1 targets in 1 sessions" in result.output
    with pytest.raises(UsageError, match="none"):
        CliRunner().invoke(evaluate_command.command, [*arguments, str(tmp_path / "none")], catch_exceptions=False)


def test_unseen_targets_can_be_dropped(models: Path, test_file: Path) -> None:
    """Then one target is left."""
    arguments = [str(models), str(test_file), "--format", "sequences", "--unseen", "drop"]
    result = CliRunner().invoke(evaluate_command.command, arguments, catch_exceptions=False)
    assert "1 targets in 1 sessions, clicks of unseen items dropped" in result.output


def test_a_directory_without_release_says_how_to_make_one(tmp_path: Path, test_file: Path) -> None:
    """An expected error is an InsessionError, which the command line prints as one line."""
    with pytest.raises(InsessionError, match="insession train"):
        CliRunner().invoke(
            evaluate_command.command, [str(tmp_path), str(test_file), "--format", "sequences"], catch_exceptions=False
        )


def test_intent_is_measured_by_prefix_where_it_is_asked_for(models: Path, test_file: Path, tmp_path: Path) -> None:
    """`--intent` adds it to the JSON and the tables, which have none without it; a file without times is refused."""
    write_release(models / "session_gru" / "2", purchase_only(0.0))
    clicks = tmp_path / "clicks.jsonl"
    steps = [("v1", "view", 0), ("v1", "view", 9), ("v1", "purchase", 20), ("v2", "view", 5), ("v2", "view", 30)]
    rows = [
        {"visitor_id": visitor, "event_type": name, "event_time": 1_700_000_000_000 + 1000 * second, "item_id": "a"}
        for visitor, name, second in steps
    ]
    clicks.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = CliRunner().invoke
    written_too = [tmp_path / "evaluation.md", tmp_path / "evaluation.html"]
    arguments = [str(models), str(clicks), "--format", "jsonl"]
    arguments += ["--markdown", str(written_too[0]), "--html", str(written_too[1])]
    plain = run(evaluate_command.command, arguments, catch_exceptions=False)
    assert "intent" not in json.loads(run(insession, ["evaluate", *arguments, "--json"]).stdout)
    assert not any("P(purchase)" in text for text in (plain.output, *(path.read_text() for path in written_too)))
    shown = run(evaluate_command.command, [*arguments, "--intent"], catch_exceptions=False).output
    written = json.loads(run(insession, ["evaluate", *arguments, "--intent", "--json"]).stdout)
    texts = [path.read_text() for path in written_too]
    assert written["targets"] == 2
    assert list(written["intent"]) == ["1", "2"]
    figures = {name: written["intent"]["2"][name] for name in ("pr_auc", "roc_auc", "ece", "base_rate", "n")}
    assert figures == {"pr_auc": 0.5, "roc_auc": 0.5, "ece": 0.5, "base_rate": 0.5, "n": 2}
    assert "P(purchase) after 3, 5, 10, end: not measured" in shown
    assert "2 thin" in shown
    assert all("| 2 thin | 2 |" in text.replace("</td><td>", " | ").replace("<td>", "| ") for text in texts)
    assert "PR-AUC, P(purchase) after" in texts[1]
    sequences = [str(models), str(test_file), "--format", "sequences", "--intent"]
    with pytest.raises(InsessionError, match="has no times"):
        run(evaluate_command.command, sequences, catch_exceptions=False)


def test_a_release_without_intent_says_so(models: Path, test_file: Path) -> None:
    """The rest is scored, and the JSON has no figure of intent."""
    arguments = ["evaluate", str(models), str(test_file), "--format", "sequences", "--intent", "--json"]
    shown = CliRunner().invoke(insession, arguments, catch_exceptions=False)
    assert "no intent model" in shown.stderr
    assert json.loads(shown.stdout)["intent"] == {}


def test_help_shows_an_example() -> None:
    """The help ends with a command line that can be pasted."""
    assert (
        "insession evaluate models test.tsv --format session-rec"
        in CliRunner().invoke(evaluate_command.command, ["--help"]).output
    )


def test_a_baseline_stands_beside_the_models(models: Path, test_file: Path) -> None:
    """It has its figures, its interval and its paired difference, under the name that was given."""
    arguments = [str(models), str(test_file), "--format", "sequences", "--baseline", f"published={models}"]
    result = CliRunner().invoke(evaluate_command.command, arguments, catch_exceptions=False)
    written = json.loads(CliRunner().invoke(insession, ["evaluate", *arguments, "--json"]).stdout)
    assert "published" in result.output
    assert written["models"]["published"] == written["models"]["gru"]
    assert written["differences"]["published"]["recall_at_20"]["value"] == 0.0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["models"], "write NAME=DIR, such as gru4rec=models"),
        (["=models"], "write NAME=DIR, such as gru4rec=models"),
        (["gru=models"], "the name gru is taken"),
        (["a={models}", "a={models}"], "the name a is taken"),
    ],
)
def test_a_baseline_needs_a_name_of_its_own(models: Path, test_file: Path, given: list[str], told: str) -> None:
    """A missing or taken name is wrong usage, and the message shows the form."""
    arguments = [str(models), str(test_file), "--format", "sequences"]
    for text in given:
        arguments += ["--baseline", text.format(models=models)]
    with pytest.raises(UsageError, match=told):
        CliRunner().invoke(evaluate_command.command, arguments, catch_exceptions=False)
