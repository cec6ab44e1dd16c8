"""Whether what must not reaches an answer: a neighbour in the batch, or the test sessions in the training."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from schemas.check_report import CheckResult, CheckThresholds
from schemas.ranking import Candidates, ModelInput
from session_model.checks.contender import differ
from session_model.checks.contract import CheckInputs, judged
from session_model.release.files import trained_sessions

_ROWS: Final = 256
_PART: Final = 7
"""Rows of a split: of a size that no batch of the evaluation has."""


def leak(given: CheckInputs, limits: CheckThresholds) -> CheckResult:
    """Ask that neither shuffling nor splitting the rows changes a score, and that the sessions were not trained on."""
    rows = [target.prefix for target in given.answers.samples[:_ROWS]]
    rank = given.candidate.model.rank  # the blend scales its sources anew, which would hide a factor
    together, complaints, figures = rank(rows), [], {"rows": float(len(rows))}
    for what, answered in (("shuffled", _shuffled(rank, rows)), ("split", _split(rank, rows))):
        pairs = zip(together, answered, strict=True)
        changed = sum(differ(one, other, limits.score_tolerance * one.scores.max(initial=0.0)) for one, other in pairs)
        figures[f"changed_when_{what}"] = float(changed)
        if changed:
            complaints.append(
                f"{changed} of {len(rows)} answers change when the rows are {what}, by more than "
                f"checks.score_tolerance = {limits.score_tolerance:g} of the first score: it sees others of its "
                "batch; look for a layer that normalises over the batch or runs in training mode"
            )
    trained = trained_sessions(given.candidate.release)
    overlap = trained and trained.overlap(given.sessions, given.candidate.release.manifest.input_event_types)
    if overlap:
        figures |= {"trained_on_share": overlap.share, "trained_on_by_chance": overlap.expected}
        if overlap.is_suspect:
            complaints.append(
                f"{overlap.share:.0%} of {overlap.compared:,} sessions were trained on, by chance it would be "
                f"{overlap.expected:.1%}: the figures are no measure of new sessions; take those of after the training"
            )
    return judged(complaints, f"{len(rows)} answers stay the same, shuffled and split", figures)


_Rank = Callable[[Sequence[ModelInput]], list[Candidates]]


def _shuffled(rank: _Rank, rows: Sequence[ModelInput]) -> list[Candidates]:
    order = np.random.default_rng(0).permutation(len(rows)).tolist()
    by_row = dict(zip(order, rank([rows[place] for place in order]), strict=True))
    return [by_row[place] for place in range(len(rows))]


def _split(rank: _Rank, rows: Sequence[ModelInput]) -> list[Candidates]:
    return [one for first in range(0, len(rows), _PART) for one in rank(rows[first : first + _PART])]
