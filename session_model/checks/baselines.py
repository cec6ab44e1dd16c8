"""Whether the release is better than what takes no network, on each part of the clicks."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.check_report import CheckResult, CheckSlice, CheckThresholds, Verdict
from session_model.checks.answers import CANDIDATE, CHAMPION, MEASURES, PLAIN, Asked
from session_model.checks.contract import CheckInputs, judged
from session_model.checks.slices import parts_of
from session_model.metrics.bootstrap import session_intervals
from session_model.metrics.ranking import LIST_CUT_OFF

_RECALL, _MRR = MEASURES
_SHOWN_SLICES: Final = 5


def baselines(given: CheckInputs, limits: CheckThresholds) -> CheckResult:
    """Ask that the release beats both plain lists over all clicks, and loses to none of them on a slice.

    Lost is a slice where a list is ahead by more than `slice_tolerance`, and the 95 % interval of the paired
    difference says the same: of thirty slices some are behind by chance. Slices of few clicks are named only.
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
    praise = f"ahead of {' and '.join(PLAIN)} over all clicks, behind on none of {n_judged} slices"
    praise += f"; weak on {', '.join(weak)}" if weak else ""
    return judged(complaints, praise, figures, slices)


def _slice(asked: Asked, name: tuple[str, str], rows: NDArray[np.bool_], limits: CheckThresholds) -> CheckSlice:
    who = [one for one in (CANDIDATE, CHAMPION, *PLAIN) if one in asked.ranks]
    means = {one: asked.means(one, rows) for one in who}
    targets = int(rows.sum())
    verdict: Verdict = "good"
    kind, part = name
    if targets < limits.min_slice_targets:
        verdict = "few"
    elif any(_is_lost(asked, plain, rows, limits) for plain in PLAIN):
        verdict = "lost"
    elif means[CANDIDATE][_RECALL] < limits.weak_share * asked.means(CANDIDATE)[_RECALL]:
        verdict = "weak"
    figures = {f"{one}.{measure}": value for one, own in means.items() for measure, value in own.items()}
    return CheckSlice(kind=kind, part=part, targets=targets, figures=figures, verdict=verdict)


def _is_lost(asked: Asked, plain: str, rows: NDArray[np.bool_], limits: CheckThresholds) -> bool:
    """Return whether `plain` is ahead in recall or MRR, by more than the tolerance and by more than chance."""
    columns = [
        of(asked.ranks[CANDIDATE][rows], LIST_CUT_OFF) - of(asked.ranks[plain][rows], LIST_CUT_OFF)
        for of in MEASURES.values()
    ]
    if all(column.mean() >= -limits.slice_tolerance for column in columns):
        return False
    found = session_intervals(asked.facts.session[rows], np.stack(columns, axis=1))
    return any(one.value < -limits.slice_tolerance and one.high < 0 for one in found)


def _lost(one: CheckSlice, limits: CheckThresholds) -> str:
    """Say by which list a slice is served better."""
    name = max(PLAIN, key=lambda name: one.figures[f"{name}.{_RECALL}"] + one.figures[f"{name}.{_MRR}"])
    plain, own = ([one.figures[f"{who}.{measure}"] for measure in MEASURES] for who in (name, CANDIDATE))
    return (
        f"on {one.kind} {one.part} ({one.targets:,} clicks) the {name} list reaches recall@20 / MRR@20 "
        f"{plain[0]:.4f} / {plain[1]:.4f}, the release {own[0]:.4f} / {own[1]:.4f}, more than checks.slice_tolerance = "
        f"{limits.slice_tolerance:g} less; look at what such sessions are, and at whether the training data have them"
    )
