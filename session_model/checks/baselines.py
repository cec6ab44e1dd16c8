"""Whether the release is better than what takes no network, on each part of the clicks."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.check_report import CheckResult, CheckSlice, CheckThresholds, Verdict
from session_model.checks.answers import CANDIDATE, CHAMPION, MEASURES, PLAIN, Asked
from session_model.checks.contract import CheckInputs, judged
from session_model.checks.slices import ITEM_KINDS, parts_of
from session_model.metrics.bootstrap import session_intervals
from session_model.metrics.ranking import LIST_CUT_OFF

_RECALL, _MRR = MEASURES
_SHOWN_SLICES: Final = 5


def baselines(given: CheckInputs, limits: CheckThresholds) -> CheckResult:
    """Ask that the release beats both plain lists over all clicks, and loses to none of them on a slice.

    Lost is a slice where a list is ahead in recall@20 + MRR@20, by which settings are chosen, by more than the
    tolerance, and the 95 % interval of the paired difference lies below zero: of thirty slices some are behind by
    chance. Slices of few clicks are named only.
    """
    asked = given.answers.whole
    means = {name: asked.means(name) for name in (CANDIDATE, *PLAIN)}
    figures = {f"{name}.{measure}": value for name, own in means.items() for measure, value in own.items()}
    complaints = []
    for name in PLAIN:
        own, plain = sum(means[CANDIDATE].values()), sum(means[name].values())
        if own <= plain:
            complaints.append(
                f"over all clicks the {name} list reaches recall@20 + MRR@20 {plain:.4f}, the release {own:.4f}; "
                "compare it with `insession evaluate` and train again"
            )
    slices = [
        _slice(asked, (kind, part), rows, limits)
        for kind, parts in parts_of(given, asked).items()
        for part, rows in parts.items()
    ]
    lost = [one for one in slices if one.verdict == "lost"]
    complaints += [_lost(one, limits) for one in lost[:_SHOWN_SLICES]]
    if len(lost) > _SHOWN_SLICES:
        complaints.append(f"and {len(lost) - _SHOWN_SLICES} more slices")
    weak = [f"{one.kind} {one.part}" for one in slices if one.verdict == "weak"]
    n_judged = sum(one.verdict != "few" for one in slices)
    praise = f"ahead of {' and '.join(PLAIN)} over all clicks, lost on none of {n_judged} slices"
    praise += f"; weak on {', '.join(weak)}" if weak else ""
    return judged(complaints, praise, figures, slices)


def _slice(asked: Asked, name: tuple[str, str], rows: NDArray[np.bool_], limits: CheckThresholds) -> CheckSlice:
    kind, part = name
    who = [one for one in (CANDIDATE, CHAMPION, *PLAIN) if one in asked.ranks]
    means = {one: asked.means(one, rows) for one in who}
    targets, verdict = int(rows.sum()), _verdict(asked, kind, rows, limits)
    figures = {f"{one}.{measure}": value for one, own in means.items() for measure, value in own.items()}
    return CheckSlice(kind=kind, part=part, targets=targets, figures=figures, verdict=verdict)


def _verdict(asked: Asked, kind: str, rows: NDArray[np.bool_], limits: CheckThresholds) -> Verdict:
    if rows.sum() < limits.min_slice_targets:
        return "few"
    behind = max(_behind(asked, plain, rows) for plain in PLAIN)
    if behind > _tolerance(kind, limits):
        return "lost"
    is_low = asked.means(CANDIDATE, rows)[_RECALL] < limits.weak_share * asked.means(CANDIDATE)[_RECALL]
    return "weak" if behind or is_low else "good"


def _tolerance(kind: str, limits: CheckThresholds) -> float:
    """Return more where the slice is by what was clicked: a list gains on one such part what it gives on another."""
    return limits.item_slice_tolerance if kind in ITEM_KINDS else limits.slice_tolerance


def _behind(asked: Asked, plain: str, rows: NDArray[np.bool_]) -> float:
    """Return by how much recall + MRR of a plain list are ahead, 0 where that may be chance."""
    gains = [sum(of(asked.ranks[who][rows], LIST_CUT_OFF) for of in MEASURES.values()) for who in (CANDIDATE, plain)]
    difference = np.asarray(gains[0] - gains[1], np.float64)
    if difference.mean() >= 0:
        return 0.0
    (found,) = session_intervals(asked.facts.session[rows], difference[:, np.newaxis])
    return -found.value if found.high < 0 else 0.0


def _lost(one: CheckSlice, limits: CheckThresholds) -> str:
    """Say by which list a slice is served better."""
    name = max(PLAIN, key=lambda name: one.figures[f"{name}.{_RECALL}"] + one.figures[f"{name}.{_MRR}"])
    plain, own = ([one.figures[f"{who}.{measure}"] for measure in MEASURES] for who in (name, CANDIDATE))
    tolerance = "item_slice_tolerance" if one.kind in ITEM_KINDS else "slice_tolerance"
    return (
        f"on {one.kind} {one.part} ({one.targets:,} clicks) the {name} list reaches recall@20 / MRR@20 "
        f"{plain[0]:.4f} / {plain[1]:.4f}, the release {own[0]:.4f} / {own[1]:.4f}, in sum more than "
        f"checks.{tolerance} = {_tolerance(one.kind, limits):g} less; look at what such "
        "sessions are, and at whether the training data have them"
    )
