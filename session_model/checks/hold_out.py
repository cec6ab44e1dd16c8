"""Whether the release is good enough on sessions that it has not seen, and no worse than the champion."""

import numpy as np

from schemas.check_report import UNKNOWN_SHARE, CheckResult, CheckThresholds
from session_model.checks.answers import CANDIDATE, CHAMPION, MEASURES, Asked
from session_model.checks.contract import CheckInputs, judged
from session_model.metrics.bootstrap import Interval, session_intervals
from session_model.metrics.ranking import LIST_CUT_OFF

_FLOORS = {"recall_at_20": "min_recall_at_20", "mrr_at_20": "min_mrr_at_20"}


def hold_out(given: CheckInputs, limits: CheckThresholds) -> CheckResult:
    """Ask for floors of recall and MRR, and for no significant loss against the champion beyond `max_loss`.

    A loss counts where the 95 % interval of the paired difference lies below zero: the noise of a day is no loss. Too
    few clicks fail: nothing was shown.
    """
    asked, missing = given.answers.whole, given.answers.missing
    figures = {"targets": float(len(asked)), "sessions": float(len(np.unique(asked.facts.session)))}
    figures |= asked.means(CANDIDATE)
    figures[UNKNOWN_SHARE] = _unknown_share(given)
    if len(missing):
        figures |= {f"missing_{name}": value for name, value in missing.means(CANDIDATE).items()}
        figures["missing_targets"] = float(len(missing))
    complaints = []
    if len(asked) < limits.min_targets:
        complaints.append(
            f"only {len(asked):,} clicks could be asked for, checks.min_targets asks for {limits.min_targets:,}; take "
            "data of more days"
        )
    for measure, floor in _FLOORS.items():
        if figures[measure] < getattr(limits, floor):
            complaints.append(
                f"{measure} is {figures[measure]:.4f}, below checks.{floor} = {getattr(limits, floor):g}, and "
                f"{figures[UNKNOWN_SHARE]:.0%} of the clicks are on items that it does not know; is the data of the "
                "same shop, and of after the training?"
            )
    for what, table in {"": asked, "missing_": missing}.items():
        if CHAMPION not in table.ranks or not len(table):
            continue
        for measure, (champion, difference) in _against(table).items():
            figures |= {f"champion_{what}{measure}": champion, f"minus_champion_{what}{measure}": difference.value}
            if difference.value < -limits.max_loss * champion and difference.high < 0:
                complaints.append(
                    f"{what}{measure} is {figures[what + measure]:.4f}, the champion's {champion:.4f}: "
                    f"{-difference.value / champion:.1%} less, where checks.max_loss allows {limits.max_loss:.1%}; "
                    "train again, or on more days"
                )
    praise = f"recall@20 {figures['recall_at_20']:.4f}, MRR@20 {figures['mrr_at_20']:.4f} over {len(asked):,} clicks"
    if CHAMPION in asked.ranks:
        praise += f", the champion's {figures['champion_recall_at_20']:.4f} and {figures['champion_mrr_at_20']:.4f}"
    return judged(complaints, praise, figures)


def _unknown_share(given: CheckInputs) -> float:
    """Return the share of the clicks on items that the release cannot list, by neither clicks nor content."""
    item_ids, known = given.answers.whole.item_ids, given.candidate.release.index_of
    return [known(item_id) for item_id in item_ids].count(None) / max(1, len(item_ids))


def _against(table: Asked) -> dict[str, tuple[float, Interval]]:
    """Return the champion's mean of each measure, and the release's minus it."""
    champion = table.means(CHAMPION)
    columns = [
        of(table.ranks[CANDIDATE], LIST_CUT_OFF) - of(table.ranks[CHAMPION], LIST_CUT_OFF) for of in MEASURES.values()
    ]
    differences = session_intervals(table.facts.session, np.stack(columns, axis=1))
    return {measure: (champion[measure], one) for measure, one in zip(MEASURES, differences, strict=True)}
