"""What a session's latest items are like."""

from math import exp
from pathlib import Path

import numpy as np
import pytest

from session_model.ranking.content_voice import ALIKE, LATEST, ContentVoice


def voice(*rows: dict[int, float]) -> ContentVoice:
    """Let item n say the n-th of `rows`, from 0, what it is like and how much."""
    alike, weights = np.zeros((len(rows), ALIKE), np.int32), np.zeros((len(rows), ALIKE), np.float32)
    for place, row in enumerate(rows):
        alike[place, : len(row)], weights[place, : len(row)] = list(row), list(row.values())
    return ContentVoice(alike, weights)


VOICE = voice({}, {2: 0.75, 3: 0.25}, {3: 1.0}, {})


def said(*items: int, k: int = 10) -> dict[int, float]:
    """Return the scores after a prefix."""
    found = VOICE.query(np.array(items, np.int32), k)
    return dict(zip(found.item_indices.tolist(), found.scores.tolist(), strict=True))


def test_the_latest_item_speaks_loudest() -> None:
    """The one before speaks 1 / e as loud."""
    assert said(1) == pytest.approx({2: 0.75, 3: 0.25})
    assert said(2, 1) == pytest.approx({2: 0.75, 3: 0.25 + exp(-1)})
    assert list(said(1, 2, k=1)) == [3]


def test_items_that_are_like_nothing_or_too_little_clicked_are_silent() -> None:
    """3 is like nothing, and beyond the rows nobody looked; as for an empty prefix."""
    assert said(3) == said(9) == said() == {}
    assert said(1, 9) == pytest.approx({2: 0.75 * exp(-1), 3: 0.25 * exp(-1)})
    assert said(1, *[3] * LATEST) == {}


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    """Another vocabulary is refused."""
    VOICE.save(tmp_path / "voice.npz")
    loaded = ContentVoice.load(tmp_path / "voice.npz", 3)
    assert loaded.query(np.array([2, 1], np.int32), 10).scores.tolist() == list(said(2, 1).values())
    with pytest.raises(ValueError, match="belong to another vocabulary"):
        ContentVoice.load(tmp_path / "voice.npz", 2)
    voice({}, {0: 1.0}).save(tmp_path / "voice.npz")
    with pytest.raises(ValueError, match="do not fit together"):
        ContentVoice.load(tmp_path / "voice.npz", 3)
