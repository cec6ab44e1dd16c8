"""The search for kNN settings on a validation slice: random ones first, then steps around the best.

The best settings differ tenfold between data sets, and a setting is tried in seconds.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from session_model.data.item_sequences import ItemSequences
from session_model.data.prefixes import Prefix
from session_model.fitting.blend_weights import CUT_OFF
from session_model.metrics.ranking import gain, target_rank
from session_model.ranking.knn import LONG_MEMORY, SHORT_MEMORY, KnnSettings, SessionKnn
from session_model.runs.journal import Journal
from session_model.runs.progress import TrainingProgress

RANDOM_SHARE: Final = 0.5
"""Of the trials; the others are steps."""
RANDOM_TRIAL_PREFIXES: Final = 2_000
"""A random trial is judged on so many targets, a step on all."""
N_KNOWN: Final = 2
"""Known good settings, which are tried first."""
_RANGES: Final = {
    "samples_per_item": (100.0, 5_000.0),
    "neighbours": (50.0, 2_000.0),
    "position_decay": (0.5, 20.0),
    "match_decay": (0.5, 30.0),
    "idf_power": (0.25, 4.0),
    "length_power": (0.02, 1.0),
    "age_decay": (0.1, 10.0),
    "after_decay": (0.5, 30.0),
    "before_weight": (0.05, 1.5),
    "before_decay": (0.3, 20.0),
    "repeat_weight": (0.02, 5.0),
    "idf_weight": (0.02, 3.0),
}
"""Lowest and highest value; drawn and moved on a logarithmic scale."""
_WHOLE: Final = ("samples_per_item", "neighbours")
_AGELESS: Final = 10.0
"""From this age decay on all ages count alike."""


@dataclass(frozen=True, slots=True)
class KnnTrials:
    """What trials are made on: kNN learns from `earlier` and ranks the targets of `prefixes`.

    journal: where trials are noted, and trials of before are found.
    """

    earlier: ItemSequences
    n_items: int
    prefixes: Sequence[Prefix]
    journal: Journal = field(default_factory=Journal)

    def gain(self, settings: KnnSettings, n_prefixes: int) -> float:
        """Return Recall@20 + MRR@20 on about `n_prefixes` of the prefixes, spread evenly."""
        return self.journal.once(_key(settings, n_prefixes), float, lambda: self._gain(settings, n_prefixes))

    def is_known(self, settings: KnnSettings, n_prefixes: int) -> bool:
        """Return whether the trial was made before, maybe by an earlier process: it costs nothing."""
        return _key(settings, n_prefixes) in self.journal

    def _gain(self, settings: KnnSettings, n_prefixes: int) -> float:
        knn = SessionKnn.fit(self.earlier.starts, self.earlier.items, self.n_items, settings)
        asked = self.prefixes[:: max(1, len(self.prefixes) // n_prefixes)]
        gains = [gain(target_rank(knn.query(one.items, CUT_OFF), one.target), CUT_OFF) for one in asked]
        return sum(gains) / max(1, len(gains))


def search_knn(
    trials: KnnTrials, n_trials: int, progress: TrainingProgress, *, seed: int = 0, deadline: float = math.inf
) -> KnnSettings:
    """Try two known good settings and random ones, then steps from the best on; `n_trials` in all.

    deadline: `time.monotonic()` seconds after which no further trial but the two is begun.
    """
    rng = np.random.default_rng(seed)
    n_random = round(RANDOM_SHARE * n_trials)
    progress.started("choosing kNN settings", n_trials)
    first = [SHORT_MEMORY, LONG_MEMORY, *(_random(rng) for _ in range(n_random - 2))]
    gains = list[float]()
    for settings in first:
        is_known = len(gains) < N_KNOWN or trials.is_known(settings, RANDOM_TRIAL_PREFIXES)
        if not is_known and time.monotonic() >= deadline:
            break
        gains.append(trials.gain(settings, RANDOM_TRIAL_PREFIXES))
        progress.stepped()
    best = first[int(np.argmax(gains))]
    best_gain = trials.gain(best, len(trials.prefixes))
    n_steps, n_made = n_trials - len(first), len(gains)
    for step in range(n_steps):
        settings = _near(best, rng, width=0.5 - 0.4 * step / n_steps)
        if not trials.is_known(settings, len(trials.prefixes)) and time.monotonic() >= deadline:
            break
        gain = trials.gain(settings, len(trials.prefixes))
        progress.stepped()
        n_made += 1
        if gain > best_gain:
            best, best_gain = settings, gain
    if n_made < n_trials:
        progress.noted(f"kNN settings: {n_made} of {n_trials} tried in the time there is")
    return best


def _key(settings: KnnSettings, n_prefixes: int) -> str:
    return f"kNN {n_prefixes} {msgspec.json.encode(settings).decode()}"


def _random(rng: np.random.Generator) -> KnnSettings:
    return _settings(
        {name: math.exp(rng.uniform(math.log(low), math.log(high))) for name, (low, high) in _RANGES.items()}
    )


def _near(settings: KnnSettings, rng: np.random.Generator, *, width: float) -> KnnSettings:
    """Move about a third of the values by a factor of about exp(+-`width`)."""
    values = {}
    for name, (low, high) in _RANGES.items():
        value = getattr(settings, name)
        moved = (_AGELESS if value is None else value) * math.exp(rng.normal(0.0, width) * (rng.random() < 1 / 3))
        values[name] = min(max(moved, low), high)
    return _settings(values)


def _settings(values: dict[str, float]) -> KnnSettings:
    whole = {name: round(values[name]) for name in _WHOLE}
    age_decay = None if values["age_decay"] >= _AGELESS else values["age_decay"]
    return msgspec.convert({**values, **whole, "age_decay": age_decay}, KnnSettings)
