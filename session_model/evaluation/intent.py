"""How good a release's intent is on sessions it has not seen, by what was known when it was asked.

Each head by prefix length, held against the base rate and against the logistic regression on the same features that
was fitted on the same sessions and ships with the release. `end` is the last prefix before the first purchase, or the
whole session where there is none: it knows that nothing else follows, so it is not online, and a head of its own
answers it. A group whose labels are all alike has no PR-AUC or ROC-AUC and is left out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from session_model.data.sessions import Sessions
from session_model.fitting.intent_examples import IntentExamples, intent_examples
from session_model.intent.categories import NO_CATEGORIES, Categories
from session_model.intent.head import IntentHead
from session_model.intent.model import IntentModel
from session_model.intent.quality import IntentQuality
from session_model.metrics.bootstrap import Interval
from session_model.metrics.intent import intent_quality
from session_model.metrics.intent_bootstrap import ece_by_chance, interval, resampled

PREFIX_LENGTHS: Final = (1, 2, 3, 5, 10)
MAX_TEST_PREFIXES: Final = 500_000
END: Final = "end"
_CHANCE: Final = 0.5
_MEASURES: Final = ("pr_auc", "roc_auc", "ece")


class PrefixIntent(msgspec.Struct, frozen=True):
    """One head on one group of prefixes.

    n: prefixes. ece_by_chance: what 95 % of models stay below that say the same and are calibrated perfectly.
    intervals, minus_logistic: 95 %, by measure; `pr_auc_minus_base_rate` among the former. logistic: what the logistic
    regression reached. is_thin: not above the base rate (PR-AUC) or chance (ROC-AUC), significantly.
    """

    pr_auc: float
    roc_auc: float
    ece: float
    ece_by_chance: float
    base_rate: float
    n: int
    is_thin: bool
    intervals: dict[str, Interval]
    logistic: dict[str, float]
    minus_logistic: dict[str, Interval]


class IntentEvaluation(msgspec.Struct, frozen=True):
    """By prefix length, each head that the release has.

    intent: P(purchase), before the session's first purchase, and at its "end". intent_leave: P(no further event), at
    any prefix. intent_cart: P(the cart is left behind), where something lies in it. intent_overall: each head over the
    prefixes of all lengths, by the head's name.
    """

    intent: dict[str, PrefixIntent]
    intent_leave: dict[str, PrefixIntent]
    intent_cart: dict[str, PrefixIntent]
    intent_overall: dict[str, PrefixIntent]


def evaluate_intent(
    model: IntentModel,
    sessions: Sessions,
    categories: Categories = NO_CATEGORIES,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> IntentEvaluation:
    """Measure every head of `model`; by length on the latest `MAX_TEST_PREFIXES`, overall on the latest `MAX_EXAMPLES`.

    A session with more than `MAX_PREFIXES_PER_SESSION` events has no `end`. progress: called with the groups of
    prefixes that are measured, and with how many there are.
    """
    by_length = intent_examples(sessions, lambda _: categories, max_examples=MAX_TEST_PREFIXES, lengths=PREFIX_LENGTHS)
    groups = [*_by_length(model, by_length), *_overall(model, intent_examples(sessions, lambda _: categories))]
    results: dict[str, dict[str, PrefixIntent]] = {name: {} for name in IntentEvaluation.__struct_fields__}
    for number, (result, key, group) in enumerate(groups):
        progress(number, len(groups))
        if (measured := _measured(group)) is not None:
            results[result][key] = measured
    progress(len(groups), len(groups))
    return IntentEvaluation(**results)


@dataclass(frozen=True, slots=True)
class _Group:
    """One head at those prefixes that are measured together.

    labels, rows: (n,) bool. outcomes: (n,) int64, the same number where one outcome decides the labels.
    """

    head: IntentHead
    examples: IntentExamples
    labels: NDArray[np.bool_]
    rows: NDArray[np.bool_]
    outcomes: NDArray[np.int64]


_Placed = tuple[str, str, _Group]
"""A field of `IntentEvaluation`, the key in it, and what is measured for it."""
_RESULTS: Final = {"purchase": "intent", "leave": "intent_leave", "cart_abandonment": "intent_cart"}


def _by_length(model: IntentModel, examples: IntentExamples) -> Iterator[_Placed]:
    for name, group in _asked(model, examples):
        for length in PREFIX_LENGTHS:
            yield _RESULTS[name], str(length), replace(group, rows=group.rows & (examples.lengths == length))
    if model.whole_session is not None:
        at_end = _Group(model.whole_session, examples, examples.purchase, examples.is_end, examples.sessions)
        yield "intent", END, at_end


def _overall(model: IntentModel, examples: IntentExamples) -> Iterator[_Placed]:
    for name, group in _asked(model, examples):
        yield "intent_overall", name, group


def _asked(model: IntentModel, examples: IntentExamples) -> Iterator[tuple[str, _Group]]:
    """Return each head's name, and the prefixes that ask it."""
    everywhere, sessions = np.ones(len(examples.lengths), np.bool_), examples.sessions
    questions = {
        "purchase": (examples.purchase, examples.before_purchase, sessions),
        # Whether a session goes on is decided at each of its prefixes anew.
        "leave": (examples.leave, everywhere, np.arange(len(sessions))),
        "cart_abandonment": (examples.cart_abandonment, examples.has_cart, sessions),
    }
    for name, head in model.heads.items():
        yield name, _Group(head, examples, *questions[name])


def _measured(group: _Group) -> PrefixIntent | None:
    sessions, labels = group.examples.sessions[group.rows], group.labels[group.rows]
    features = group.examples.features[group.rows]
    served, logistic = (one.probabilities(features) for one in (group.head.served, group.head.logistic))
    own, bar = intent_quality(labels, served), intent_quality(labels, logistic)
    if own is None or bar is None:
        return None
    draws = resampled(sessions, labels, {"served": served, "logistic": logistic})
    own_draws, bar_draws = draws["served"], draws["logistic"]
    reached, to_reach = _by_measure(own), _by_measure(bar)
    intervals = {name: interval(reached[name], getattr(own_draws, name)) for name in _MEASURES}
    above = interval(own.pr_auc - own.base_rate, own_draws.pr_auc - own_draws.base_rate)
    return PrefixIntent(
        **reached,
        ece_by_chance=ece_by_chance(group.outcomes[group.rows], served),
        base_rate=own.base_rate,
        n=own.examples,
        is_thin=above.low <= 0 or intervals["roc_auc"].low <= _CHANCE,
        intervals=intervals | {"pr_auc_minus_base_rate": above},
        logistic=to_reach,
        minus_logistic={
            name: interval(reached[name] - to_reach[name], getattr(own_draws, name) - getattr(bar_draws, name))
            for name in _MEASURES
        },
    )


def _by_measure(quality: IntentQuality) -> dict[str, float]:
    return {"pr_auc": quality.pr_auc, "roc_auc": quality.roc_auc, "ece": quality.calibration_error}
