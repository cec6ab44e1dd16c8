"""Whether the release lists what may be sold, enough of it, and of all categories."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from schemas.check_report import CheckResult, CheckSlice, CheckThresholds, Verdict
from schemas.events import unix_ms
from schemas.ids import ItemIndex
from session_model.checks.answers import CANDIDATE, CHAMPION
from session_model.checks.assortment import Shelf
from session_model.checks.contract import CheckInputs, judged, not_run
from session_model.checks.slices import MOST_CATEGORIES, category_of
from session_model.metrics.ranking import LIST_CUT_OFF


def guardrails(given: CheckInputs, limits: CheckThresholds) -> CheckResult:
    """Hold the lists against the catalog: what the filters must take out, what is left and shown, and what was sent."""
    if given.evidence.catalog is None:
        return not_run("no catalog says what may be sold; give it with --catalog")
    shelf, listed = Shelf(given.candidate.release, given.assortment), given.answers.listed
    unavailable = float(listed[shelf.forbidden].sum() / max(int(listed.sum()), 1))
    short = _short_share(given, shelf)
    figures = {"unavailable_share": unavailable, "short_share": short}
    complaints = []
    if unavailable > limits.max_unavailable_share:
        complaints.append(
            f"{unavailable:.1%} of the places hold items that the catalog or serving.excluded_items forbids, "
            f"checks.max_unavailable_share allows {limits.max_unavailable_share:.1%}; train on later sessions"
        )
    if short > limits.max_short_share:
        complaints.append(
            f"{short:.1%} of the answers have fewer than {LIST_CUT_OFF} items when the filters are done, "
            f"checks.max_short_share allows {limits.max_short_share:.1%}; train on later sessions"
        )
    complaints += _sent(given, limits, figures)
    slices = _categories(given, limits)
    complaints += [
        f"category {one.part} has {one.figures['places_share']:.1%} of the places and "
        f"{one.figures['clicks_share']:.1%} of the clicks, checks.min_category_ratio asks for "
        f"{limits.min_category_ratio:g} times; do the training data have it?"
        for one in slices
        if one.verdict == "lost"
    ]
    praise = f"{unavailable:.1%} of the places hold what may not be sold and are filtered, no category is left out"
    return judged(complaints, praise, figures, slices)


def coverage(given: CheckInputs, limits: CheckThresholds) -> CheckResult:
    """Ask for a share of the items that the lists could have held: few lists cannot hold all."""
    shares = {name: _coverage(shown, len(given.answers.whole)) for name, shown in given.answers.shown.items()}
    own = shares[CANDIDATE]
    figures, complaints = {"coverage_at_20": own}, []
    if own < limits.min_coverage:
        complaints.append(
            f"the lists hold {own:.1%} of the items that they could, below checks.min_coverage = "
            f"{limits.min_coverage:.1%}: everybody sees the same; look at the shares of the blend"
        )
    if CHAMPION in shares:
        figures["champion_coverage_at_20"] = shares[CHAMPION]
        if own < limits.min_coverage_ratio * shares[CHAMPION]:
            complaints.append(
                f"the lists hold {own:.1%} of the items that they could, the champion's {shares[CHAMPION]:.1%}; "
                f"checks.min_coverage_ratio asks for {limits.min_coverage_ratio:g} times; which items went?"
            )
    return judged(complaints, f"the lists hold {own:.1%} of the items that they could", figures)


def _coverage(shown: NDArray[np.int64], n_lists: int) -> float:
    most = min(len(shown) - 1, n_lists * LIST_CUT_OFF)
    return float(np.count_nonzero(shown) / max(most, 1))


def _short_share(given: CheckInputs, shelf: Shelf) -> float:
    """Return the share of answers that the filters leave shorter than what may be sold would fill."""
    samples = given.answers.samples
    wanted = min(LIST_CUT_OFF, int(np.count_nonzero(~shelf.forbidden[1:])))
    lists = given.candidate.answers([target.prefix for target in samples])
    left = [
        len(shelf.left(one.item_indices, target.events, target.location))
        for one, target in zip(lists, samples, strict=True)
    ]
    return float(np.mean([count < wanted for count in left]))


def _sent(given: CheckInputs, limits: CheckThresholds, figures: dict[str, float]) -> list[str]:
    """Hold what was sent against the catalog as it is now, but for items that ended since."""
    sent = [(item.item_id, unix_ms(answer.event_time)) for answer in given.sent for item in answer.items]
    if not sent:
        return []
    wrong = [item_id for item_id, at_ms in sent if not given.assortment.allows(item_id, at_ms=at_ms)]
    share = len(wrong) / len(sent)
    figures |= {"sent_items": float(len(sent)), "sent_unavailable_share": share}
    if share <= limits.max_sent_unavailable_share:
        return []
    item_id, count = Counter(wrong).most_common(1)[0]
    complaint = (
        f"{len(wrong):,} of {len(sent):,} items that were sent may not be sold ({item_id} {count:,} times), "
        f"checks.max_sent_unavailable_share allows {limits.max_sent_unavailable_share:.2%}; do the workers read this "
        "catalog topic?"
    )
    return [complaint]


def _categories(given: CheckInputs, limits: CheckThresholds) -> list[CheckSlice]:
    """Return each category's share of the clicks and of the places."""
    clicks = Counter(category_of(given, item_id) for item_id in given.answers.whole.item_ids)
    places, release = Counter[str | None](), given.candidate.release
    shown = given.answers.shown[CANDIDATE]
    for index in np.flatnonzero(shown):
        places[category_of(given, release.item_id(ItemIndex(int(index))))] += int(shown[index])
    n_clicks, n_places, found = clicks.total(), max(places.total(), 1), list[CheckSlice]()
    for name, count in clicks.most_common():
        if name is None:
            continue
        own, wanted = places[name] / n_places, count / n_clicks
        verdict: Verdict = "lost" if own < limits.min_category_ratio * wanted else "good"
        if count < limits.min_slice_targets:
            verdict = "few"
        figures = {"places_share": own, "clicks_share": wanted}
        found.append(CheckSlice(kind="category", part=name, targets=count, figures=figures, verdict=verdict))
    return found[:MOST_CATEGORIES]
