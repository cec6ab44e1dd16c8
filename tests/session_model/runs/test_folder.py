import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.errors import InsessionError
from session_model.runs.curve import CurvePoint
from session_model.runs.folder import RunConfig, RunFolder, open_run

CONFIG = RunConfig({"data_sha256": "1" * 64, "preset": {"recipes": [1]}}, {"data": "clicks.jsonl"})
POINT = CurvePoint("recipe 1 of 1", 1, 0.5, 0.25, 0.125, 2.0, 100.0)


@contextmanager
def opened(tmp_path: Path, config: RunConfig = CONFIG, *, is_fresh: bool = False) -> Iterator[RunFolder]:
    """Work on a run."""
    with open_run(tmp_path / "runs", config, is_fresh=is_fresh) as run:
        yield run


def test_a_finished_run_tells_everything(tmp_path: Path) -> None:
    """Configuration, curve, picture and result are there, and nothing to go on from."""
    with opened(tmp_path) as run:
        run.drew([POINT])
        run.draw()
        run.finish({"version": 1})
    assert run.directory == tmp_path / "runs" / "1"
    config = json.loads((run.directory / "config.json").read_text())
    assert config["preset"] == {"recipes": [1]}
    assert config["data"] == "clicks.jsonl"
    assert config["machine"]["cores"] >= 1
    (line,) = (run.directory / "curve.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "training": "recipe 1 of 1",
        "epoch": 1,
        "loss": 0.5,
        "recall_at_20": 0.25,
        "mrr_at_20": 0.125,
        "seconds": 2.0,
        "clicks_per_second": 100.0,
    }
    assert "<svg" in (run.directory / "curve.svg").read_text()
    assert json.loads((run.directory / "result.json").read_text()) == {"version": 1}
    assert not run.checkpoints.exists()


def test_an_unfinished_run_goes_on_with_its_journal_and_its_time(tmp_path: Path) -> None:
    """The same essence finds it, whatever the notes say, and the seconds of before count."""
    with opened(tmp_path) as run:
        assert not run.is_resumed
        run.journal.once("a", int, lambda: 1)
        run.spent("reading", 2.0)
        run.spent("reading", 1.0)
        run.drew([POINT])
    with opened(tmp_path, RunConfig(CONFIG.essence, {"data": "moved.jsonl"})) as run:
        assert (run.number, run.is_resumed, len(run.journal)) == (1, True, 1)
        assert run.seconds == 3.0
        assert run.phase_seconds == {"reading": 3.0}
        run.drew([POINT, replace(POINT, epoch=2)])
        assert len((run.directory / "curve.jsonl").read_text().splitlines()) == 2


def test_time_counts_where_the_phase_is_interrupted(tmp_path: Path) -> None:
    """What was spent until then is spent."""

    def choose() -> None:
        with opened(tmp_path) as run, run.phase("choosing"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        choose()
    with opened(tmp_path) as run:
        assert run.phase_seconds["choosing"] > 0


def test_a_run_begins_anew(tmp_path: Path) -> None:
    """For another essence, when asked for, and after a finished one; each gets the next number."""
    with opened(tmp_path):
        pass
    with opened(tmp_path, RunConfig({"data_sha256": "2" * 64}, {})) as run:
        assert (run.number, run.is_resumed) == (2, False)
        run.finish({})
    with opened(tmp_path, RunConfig({"data_sha256": "2" * 64}, {})) as run:
        assert (run.number, run.is_resumed) == (3, False)
    with opened(tmp_path, is_fresh=True) as run:
        assert (run.number, run.is_resumed) == (4, False)
    with opened(tmp_path) as run:
        assert (run.number, run.is_resumed) == (4, True)


def test_two_processes_do_not_work_on_one_run(tmp_path: Path) -> None:
    """Whoever comes second begins a run of its own."""
    with ExitStack() as stack:
        first = stack.enter_context(opened(tmp_path))
        second = stack.enter_context(opened(tmp_path))
        assert (first.number, second.number) == (1, 2)
        assert not second.is_resumed


def test_a_damaged_configuration_is_not_gone_on_from(tmp_path: Path) -> None:
    """Nor is a folder that a killed process had no time to fill; names that are no number do not count."""
    with opened(tmp_path) as run:
        (run.directory / "config.json").write_text("{")
    (tmp_path / "runs" / "2").mkdir()
    (tmp_path / "runs" / "notes").mkdir()
    with opened(tmp_path) as run:
        assert (run.number, run.is_resumed) == (3, False)


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    """The error names the folder and what to look at."""
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(InsessionError, match=r"runs.*check space and rights"), opened(tmp_path):
        pass
