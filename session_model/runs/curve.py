"""The curve of a training run: a point an epoch, heard from the trainings, and its picture."""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_model.runs.progress import EpochReport, TrainingProgress

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """An epoch of one training of the run."""

    training: str
    epoch: int
    loss: float
    recall_at_20: float | None
    mrr_at_20: float | None
    seconds: float
    clicks_per_second: float


class CurveRecorder:
    """Hands on what it hears to `progress`, and epochs to `on_points`; implements TrainingProgress."""

    def __init__(self, progress: TrainingProgress, on_points: Callable[[list[CurvePoint]], None]) -> None:
        self._progress = progress
        self._on_points = on_points
        self._training = ""

    def started(self, phase: str, n_steps: int) -> None:
        """Return the epochs that follow after the phase."""
        self._training = phase
        self._progress.started(phase, n_steps)

    def stepped(self, clicks: int = 0) -> None:
        """Hand it on."""
        self._progress.stepped(clicks)

    def epoch_ended(self, report: EpochReport) -> None:
        """Add a point."""
        self._on_points([self._point(report)])
        self._progress.epoch_ended(report)

    def resumed(self, reports: Sequence[EpochReport], n_steps: int) -> None:
        """Add the points of the earlier process."""
        self._on_points([self._point(report) for report in reports])
        self._progress.resumed(reports, n_steps)

    def noted(self, text: str) -> None:
        """Hand it on."""
        self._progress.noted(text)

    def _point(self, report: EpochReport) -> CurvePoint:
        return CurvePoint(
            training=self._training,
            epoch=report.epoch,
            loss=report.loss,
            recall_at_20=report.recall_at_20,
            mrr_at_20=report.mrr_at_20,
            seconds=round(report.seconds, 3),
            clicks_per_second=round(report.clicks_per_second, 1),
        )


MOST_NAMED: Final = 8
"""Trainings that the legend names; of more, as of a search, it names the best and the last; others are grey."""
_PANELS = {"loss": "loss", "Recall@20": "recall_at_20", "MRR@20": "mrr_at_20"}


def draw_curve(points: Sequence[CurvePoint]) -> bytes:
    """Draw a line a training, as SVG on a light card that a dark page can show, too; imports matplotlib."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - a second that only the picture needs
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - as above

    trainings = list(dict.fromkeys(point.training for point in points))
    named = trainings if len(trainings) <= MOST_NAMED else [max(points, key=_gain).training, trainings[-1]]
    figure = Figure(figsize=(11, 3.4), layout="constrained", facecolor="white")
    for axes, (title, name) in zip(figure.subplots(1, len(_PANELS)), _PANELS.items(), strict=True):
        for training in trainings:
            line = [point for point in points if point.training == training and getattr(point, name) is not None]
            if line:
                heights = [getattr(point, name) for point in line]
                epochs = [point.epoch for point in line]
                is_named = training in named
                style: dict[str, Any] = {"color": "0.8"}
                if is_named:
                    style = {"color": f"C{named.index(training)}", "label": training}
                axes.plot(epochs, heights, marker="o", markersize=4, zorder=2 + is_named, **style)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
        else:
            axes.text(0.5, 0.5, "nothing was held out", ha="center", transform=axes.transAxes)
    return svg_of(figure)


def svg_of(figure: "Figure") -> bytes:
    """Return a figure as SVG with texts that can be searched and read aloud, not their outlines."""
    from matplotlib import rc_context  # noqa: PLC0415 - as above

    drawn = io.BytesIO()
    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()


def _gain(point: CurvePoint) -> float:
    return -math.inf if point.recall_at_20 is None or point.mrr_at_20 is None else point.recall_at_20 + point.mrr_at_20
