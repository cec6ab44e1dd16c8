"""What is alike, and how much of that vectors decide."""

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemId, ItemIndex
from schemas.records import CatalogItem
from session_model.data.prefixes import Prefix
from session_model.data.vocabulary import Vocabulary
from session_model.fitting.cold_start import Described
from session_model.fitting.content_voice import choose_voice, fit_voice
from session_model.ranking.item_vectors import ItemVectors
from session_model.runs.progress import NoProgress

N = 60
COUNTS = np.array([0, *[9] * N])
VOCABULARY = Vocabulary(ItemId(str(n)) for n in range(1, N + 1))
TRUE, FALSE = (np.arange(N) % 3, np.arange(N) % 5)
"""Groups of the items: after an item comes one of the same true group."""


def records(groups: NDArray[np.int64]) -> list[CatalogItem]:
    """Let a word name the group of each item."""
    return [CatalogItem(item_id=ItemId(str(n + 1)), title=f"word{group}") for n, group in enumerate(groups.tolist())]


def vectors(groups: NDArray[np.int64]) -> ItemVectors:
    """Let a direction name it."""
    return ItemVectors(np.eye(N, 8, dtype=np.float16)[groups], [], 1.0)


def prefixes() -> list[Prefix]:
    """Go from each item to the next of its true group."""
    return [Prefix(np.array([item], np.int32), ItemIndex(item + 3)) for item in range(1, N - 2)]


def test_what_foretells_the_next_click_decides() -> None:
    """Vectors with the true groups and words with false ones, and the other way round."""
    by_vectors = choose_voice(Described(records(FALSE), VOCABULARY, vectors(TRUE)), COUNTS, prefixes(), NoProgress())
    by_words = choose_voice(Described(records(TRUE), VOCABULARY, vectors(FALSE)), COUNTS, prefixes(), NoProgress())
    assert by_vectors is not None
    assert by_words is not None
    assert by_vectors.vector_share >= 0.5 > by_words.vector_share
    for choice in (by_vectors, by_words):
        assert choice.voice.query(np.array([4], np.int32), 20).item_indices[0] % 3 == 1


def test_what_is_there_alone_decides() -> None:
    """No catalog, no vectors, neither: then nothing is said."""
    for described in (Described([], VOCABULARY, vectors(TRUE)), Described(records(TRUE), VOCABULARY)):
        choice = choose_voice(described, COUNTS, prefixes(), NoProgress())
        assert choice is not None
        heard = choice.voice.query(np.array([4], np.int32), 100)
        assert set((heard.item_indices % 3).tolist()) == {1}
        assert 4 not in heard.item_indices
    assert choose_voice(Described([], VOCABULARY), COUNTS, prefixes(), NoProgress()) is None


def test_a_release_hears_all_items() -> None:
    """Also those with which no prefix of the slice ended."""
    voice = fit_voice(Described([], VOCABULARY, vectors(TRUE)), COUNTS)
    assert all(len(voice.query(np.array([item], np.int32), 5)) == 5 for item in range(1, N + 1))
