"""Hears what a session's items are like: how much of that vectors decide is chosen by how well it foretells."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from session_model.data.prefixes import Prefix
from session_model.fitting.cold_start import Described
from session_model.fitting.item_vectors import DEFAULT_SHARE
from session_model.metrics.ranking import LIST_CUT_OFF, gain, target_rank
from session_model.ranking.content_voice import LATEST, ContentVoice
from session_model.ranking.likeness import Likeness
from session_model.runs.progress import TrainingProgress

VECTOR_SHARES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of a likeness, where there are vectors and a catalog."""
MAX_ASKED: Final = 1_000
"""Targets on which that share is chosen."""
MAX_SPEAKING: Final = 50_000
"""Items that have a voice, the most clicked: a like one is found in about a millisecond."""


class Choice(NamedTuple):
    """The share that was chosen, and what the items of the prefixes say by it."""

    vector_share: float
    voice: ContentVoice


def choose_voice(
    described: Described, counts: NDArray[np.int64], prefixes: Sequence[Prefix], progress: TrainingProgress
) -> Choice | None:
    """Take the share whose voice alone has the best Recall@20 + MRR@20; None where nothing but clicks is known.

    counts: (n_items + 1,) int64, clicks that the other sources learn from.
    """
    if described.is_empty or not prefixes:
        return None
    likeness, share = described.likeness(counts), DEFAULT_SHARE
    if described.records and described.vectors is not None:
        asked = prefixes[:: -(-len(prefixes) // MAX_ASKED)]
        progress.started("choosing what is alike", len(VECTOR_SHARES))
        gains = list[float]()
        for tried in VECTOR_SHARES:
            gains.append(_gain(_heard(described, likeness.with_share(tried), asked), asked))
            progress.stepped()
        share = VECTOR_SHARES[int(np.argmax(gains))]
    return Choice(share, _heard(described, likeness.with_share(share), prefixes))


def fit_voice(described: Described, counts: NDArray[np.int64]) -> ContentVoice:
    """Let the most clicked items speak."""
    n_speaking = min(len(described.vocabulary), MAX_SPEAKING)
    return _fit(described, described.likeness(counts), np.arange(1, n_speaking + 1))


def _heard(described: Described, likeness: Likeness, prefixes: Sequence[Prefix]) -> ContentVoice:
    latest = np.unique(np.concatenate([prefix.items[-LATEST:] for prefix in prefixes]))
    return _fit(described, likeness, latest[latest <= MAX_SPEAKING])


def _fit(described: Described, likeness: Likeness, items: NDArray[np.integer]) -> ContentVoice:
    return ContentVoice.fit(likeness, described.records_of(items), int(items.max(initial=0)))


def _gain(voice: ContentVoice, prefixes: Sequence[Prefix]) -> float:
    ranks = (target_rank(voice.query(one.items, LIST_CUT_OFF), one.target) for one in prefixes)
    return sum(gain(rank, LIST_CUT_OFF) for rank in ranks)
