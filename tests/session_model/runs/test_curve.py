from xml.etree import ElementTree as ET

from session_model.runs.curve import MOST_NAMED, CurvePoint, CurveRecorder, draw_curve
from session_model.runs.progress import EpochReport, NoProgress

TEXT = "{http://www.w3.org/2000/svg}text"
REPORTS = [EpochReport(epoch, 1 / epoch, 0.5, 0.25, clicks=100, seconds=2.0) for epoch in (1, 2)]


class Heard(NoProgress):
    """Remembers what was handed on."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def started(self, phase: str, n_steps: int) -> None:
        """Remember the phase."""
        self.calls.append(f"{phase} {n_steps}")

    def epoch_ended(self, report: EpochReport) -> None:
        """Remember the epoch."""
        self.calls.append(f"epoch {report.epoch}")

    def noted(self, text: str) -> None:
        """Remember the text."""
        self.calls.append(text)


def test_every_epoch_becomes_a_point_of_its_training() -> None:
    """Epochs of before and new ones alike; what is heard is handed on."""
    points, heard = list[CurvePoint](), Heard()
    recorder = CurveRecorder(heard, points.extend)
    recorder.started("recipe 1 of 1", 10)
    recorder.resumed(REPORTS[:1], 5)
    recorder.epoch_ended(REPORTS[1])
    recorder.noted("a word")
    assert [(point.training, point.epoch, point.clicks_per_second) for point in points] == [
        ("recipe 1 of 1", 1, 50.0),
        ("recipe 1 of 1", 2, 50.0),
    ]
    assert heard.calls == ["recipe 1 of 1 10", "epoch 2", "a word"]


def test_the_picture_names_each_training_and_says_where_nothing_was_held_out() -> None:
    """Trainings without a validation slice have a loss only."""
    held_out = CurvePoint("recipe 1 of 2", 1, 0.5, 0.25, 0.125, 2.0, 100.0)
    final = CurvePoint("training on all sessions", 1, 0.5, None, None, 2.0, 100.0)
    assert "nothing was held out" not in _texts(draw_curve([held_out, final]))
    assert {"recipe 1 of 2", "training on all sessions"} <= _texts(draw_curve([held_out, final]))
    assert "nothing was held out" in _texts(draw_curve([final]))


def test_of_many_trainings_the_picture_names_the_best_and_the_last() -> None:
    """A legend of all trials of a search would hide their lines."""
    many = [CurvePoint(f"trial {n}", 1, 0.5, 0.25, 0.5 if n == 3 else 0.125, 2.0, 100.0) for n in range(MOST_NAMED + 1)]
    assert {name for name in _texts(draw_curve(many)) if name.startswith("trial")} == {"trial 3", "trial 8"}
    all_named = {name for name in _texts(draw_curve(many[:-1])) if name.startswith("trial")}
    assert len(all_named) == MOST_NAMED


def _texts(svg: bytes) -> set[str]:
    """Return what a reader finds written in the picture."""
    return {"".join(text.itertext()) for text in ET.fromstring(svg).iter(TEXT)}  # noqa: S314 - our own
