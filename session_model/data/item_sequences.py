"""Sessions as a next-item model reads them: item indices and nothing else."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from session_model.csr import row_numbers, starts_of
from session_model.data.sessions import EVENT_TYPE_CODES, Sessions
from session_model.data.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class ItemSequences:
    """One row of items a session, in the order of the sessions (by their end).

    starts: (n_sessions + 1,) int64; row i is items[starts[i]:starts[i + 1]] and may be empty. Items before the first
    row and after the last one belong to none, so a range of sessions is a slice of `starts`.
    items: (n_events,) int32 `ItemIndex`, 0 where the vocabulary has not seen the item.
    """

    starts: NDArray[np.int64]
    items: NDArray[np.int32]

    def __len__(self) -> int:
        """Count the sessions."""
        return len(self.starts) - 1

    def select(self, keep: NDArray[np.bool_]) -> "ItemSequences":
        """Keep some events, (n_events,) bool; sessions stay, even where nothing of them is left. Starts at 0."""
        rows = slice(int(self.starts[0]), int(self.starts[-1]))
        kept_before = starts_of(keep[rows].astype(np.int64))
        return ItemSequences(kept_before[self.starts - rows.start], self.items[rows][keep[rows]])

    def known(self) -> "ItemSequences":
        """Leave unseen items out."""
        return self.select(self.items > 0)

    def session_numbers(self) -> NDArray[np.int64]:
        """Return the session of each event, (n_events,)."""
        return row_numbers(np.diff(self.starts))


def item_sequences(sessions: Sessions, vocabulary: Vocabulary, input_event_types: Collection[str]) -> ItemSequences:
    """Map the item events of `input_event_types` to the indices of `vocabulary`."""
    indices = np.array([vocabulary.index_of(item_id) or 0 for item_id in sessions.item_ids], np.int32)
    codes = [code for code, name in enumerate(EVENT_TYPE_CODES) if name in input_event_types]
    keep = (sessions.items >= 0) & np.isin(sessions.event_types, codes)
    positions = ItemSequences(sessions.starts, sessions.items).select(keep)
    items = indices[positions.items] if len(indices) else np.zeros(0, np.int32)
    return ItemSequences(positions.starts, items)
