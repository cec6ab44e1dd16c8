"""Which sessions a release was trained on, as hashes, and whether a test holds them again.

A session is told by the items of its input events and their seconds, and beside that by the items alone, since times
may be absent or shifted. Equal items also come about by chance, so what the latest tenth of the training data shares
with the rest is kept as the share to expect. A bottom-k sketch bounds the size: of many sessions those with the
smallest hashes are kept, and only test sessions below the same bound are looked up.
(Bar-Yossef et al., Counting distinct elements in a data stream, RANDOM 2002.)
"""

import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from session_model.csr import row_numbers
from session_model.data.item_sequences import ItemSequences
from session_model.data.sessions import EVENT_TYPE_CODES, Sessions

MAX_SESSIONS: Final = 1 << 17
"""Hashes that are kept of each identity; a megabyte."""
MIN_COMPARED: Final = 5
"""Test sessions below which nothing is said: a handful repeats by chance."""
Identity = Literal["items_and_times", "items"]
MIN_ITEMS: Final[dict[Identity, int]] = {"items_and_times": 2, "items": 3}
"""Shorter sessions are not compared: what they click is what many click."""
TOLERATED_EXCESS: Final[dict[Identity, float]] = {"items_and_times": 0.01, "items": 0.05}
"""Share above the expected one from which on a test overlaps, if it is also beyond three standard errors."""

_LATER_SHARE: Final = 0.1
_MS_PER_SECOND: Final = 1000


class Overlap(msgspec.Struct, frozen=True):
    """What a test shares with the training data.

    identity: by what sessions were told. compared: test sessions that were looked up. share: of them, those that were
    trained on. expected: the share of the latest training sessions that equal earlier ones, for comparison.
    """

    identity: Identity
    compared: int
    share: float
    expected: float

    @property
    def is_suspect(self) -> bool:
        """Whether more is shared than chance explains."""
        error = math.sqrt(max(self.expected * (1 - self.expected), 1 / self.compared) / self.compared)
        return self.share - self.expected > max(TOLERATED_EXCESS[self.identity], 3 * error)


@dataclass(frozen=True, slots=True)
class _Hashes:
    """kept: (n,) uint64, ascending and distinct, all below `bound`, a uint64."""

    kept: NDArray[np.uint64]
    bound: int
    expected: float

    @classmethod
    def fit(cls, hashes: NDArray[np.uint64]) -> Self:
        """Keep a sketch of sessions in the order of their end."""
        cut = len(hashes) - int(len(hashes) * _LATER_SHARE)
        later = hashes[cut:]
        expected = float(np.isin(later, hashes[:cut]).mean()) if len(later) else 0.0
        distinct = np.unique(hashes)
        bound = int(distinct[MAX_SESSIONS]) if len(distinct) > MAX_SESSIONS else (1 << 64) - 1
        return cls(distinct[:MAX_SESSIONS], bound, expected)


@dataclass(frozen=True, slots=True)
class TrainedSessions:
    """The sketches of a training, by identity; without times there is one."""

    by_identity: Mapping[Identity, _Hashes]

    @classmethod
    def fit(cls, sessions: Sessions, input_event_types: Collection[str]) -> Self:
        """Hash the sessions that are long enough."""
        return cls({name: _Hashes.fit(hashes) for name, hashes in _hashes(sessions, input_event_types).items()})

    def overlap(self, test: Sessions, input_event_types: Collection[str]) -> Overlap | None:
        """Compare a test; by the identity that shows most. None where too few of its sessions can be compared."""
        found = list[Overlap]()
        for name, hashes in _hashes(test, input_event_types).items():
            trained = self.by_identity.get(name)
            if trained is None:
                continue
            compared = hashes[hashes < np.uint64(trained.bound)]
            if len(compared) >= MIN_COMPARED:
                share = float(np.isin(compared, trained.kept).mean())
                found.append(Overlap(name, len(compared), share, trained.expected))
        return max(found, key=lambda one: (one.is_suspect, one.share - one.expected), default=None)

    def save(self, path: Path) -> None:
        """Write the sketches."""
        arrays = dict[str, NDArray[Any]]()
        for name, one in self.by_identity.items():
            arrays |= {name: one.kept, f"{name}.bound": np.array(one.bound, np.uint64)}
            arrays[f"{name}.expected"] = np.array(one.expected)
        np.savez(path, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; raises KeyError or ValueError where it did not."""
        with np.load(path) as file:
            names: list[Identity] = [name for name in MIN_ITEMS if name in file]
            return cls(
                {
                    name: _Hashes(file[name], int(file[f"{name}.bound"]), float(file[f"{name}.expected"]))
                    for name in names
                }
            )


def _hashes(sessions: Sessions, input_event_types: Collection[str]) -> dict[Identity, NDArray[np.uint64]]:
    """Hash each session that is long enough, in the order of the sessions, by each identity that it has."""
    codes = [code for code, name in enumerate(EVENT_TYPE_CODES) if name in input_event_types]
    keep = (sessions.items >= 0) & np.isin(sessions.event_types, codes)
    rows = ItemSequences(sessions.starts, sessions.items).select(keep)
    lengths = np.diff(rows.starts)
    if not len(rows.items):
        return {}
    numbers = row_numbers(lengths)
    places = (np.arange(len(rows.items)) - rows.starts[numbers]).astype(np.uint64)
    clicks = _mixed(_item_hashes(sessions)[rows.items] ^ _mixed(places))
    words: dict[Identity, NDArray[np.uint64]] = {"items": clicks}
    if sessions.times_ms is not None:
        seconds = (sessions.times_ms[keep] // _MS_PER_SECOND).astype(np.uint64)
        words = {"items_and_times": _mixed(clicks ^ _mixed(seconds)), "items": clicks}
    found = dict[Identity, NDArray[np.uint64]]()
    for identity, of_clicks in words.items():
        sums = np.zeros(len(rows), np.uint64)
        np.add.at(sums, numbers, of_clicks)
        found[identity] = _mixed(sums)[lengths >= MIN_ITEMS[identity]]
    return found


def _item_hashes(sessions: Sessions) -> NDArray[np.uint64]:
    """Hash the item ids themselves: every file numbers its items anew."""
    digests = b"".join(hashlib.blake2b(item.encode(), digest_size=8).digest() for item in sessions.item_ids)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scatter the bits (the finaliser of SplitMix64, Steele et al., OOPSLA 2014)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
