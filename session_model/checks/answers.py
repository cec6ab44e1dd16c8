"""Everybody's lists for the same clicks: those of the release, of the champion, and of what takes no network.

Most sessions are whole: each click after the first is asked for, from what came before it. Of some the last clicks are
missing and asked for at once, from what is left: what comes after the next click, as a list in a mail needs it.
"""

from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from schemas.check_report import CheckThresholds
from schemas.errors import InsessionError
from schemas.ids import ItemId, ItemIndex
from schemas.ranking import Candidates
from session_model.checks.assortment import Assortment, Shelf
from session_model.checks.contender import Contender
from session_model.checks.plain_lists import linear_list, untrained_list
from session_model.data.sessions import Sessions
from session_model.evaluation.comparison import TargetFacts
from session_model.evaluation.ranking import PUBLISHED, Target, facts_of, targets
from session_model.metrics.ranking import LIST_CUT_OFF, NO_RANK, recall, reciprocal_rank, target_rank

CANDIDATE: Final = "candidate"
CHAMPION: Final = "champion"
PLAIN: Final = {"linear": linear_list, "untrained": untrained_list}
MEASURES: Final = {f"recall_at_{LIST_CUT_OFF}": recall, f"mrr_at_{LIST_CUT_OFF}": reciprocal_rank}
_BATCH_SIZE: Final = 256
_UNKNOWN: Final = ItemIndex(0)
_HASHES: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Asked:
    """Clicks that were asked for, (n,) each.

    ranks: int32 by who answered, from 1, 0 = not in the list. times_ms: int64, of the event before; 0 = no times.
    item_ids: what was clicked. locations: where the session was seen last.
    """

    facts: TargetFacts
    ranks: Mapping[str, NDArray[np.int32]]
    times_ms: NDArray[np.int64]
    item_ids: list[ItemId]
    locations: list[str | None]

    def __len__(self) -> int:
        """Count the clicks."""
        return len(self.times_ms)

    def means(self, who: str, rows: NDArray[np.bool_] | None = None) -> dict[str, float]:
        """Return recall_at_20 and mrr_at_20 over some of the clicks, of which there is one at least."""
        ranks = self.ranks[who] if rows is None else self.ranks[who][rows]
        return {name: float(of(ranks, LIST_CUT_OFF).mean()) for name, of in MEASURES.items()}


@dataclass(frozen=True, slots=True)
class Answers:
    """whole, missing: the clicks of whole sessions, and those held back at the end of others; the latter may be none.

    listed: (n_items + 1,) int64, places in the release's first twenty by their `ItemIndex`, of the clicks of whole
    sessions. shown: likewise by who answered, in the first twenty that a worker's filters leave.
    first_scores: (n,) float64, the release's score of its first place, where an item was known.
    samples: some of the questions, evenly over the sessions.
    """

    whole: Asked
    missing: Asked
    listed: NDArray[np.int64]
    shown: Mapping[str, NDArray[np.int64]]
    first_scores: NDArray[np.float64]
    samples: list[Target]


def ask(
    candidate: Contender,
    champion: Contender | None,
    sessions: Sessions,
    assortment: Assortment,
    limits: CheckThresholds,
    progress: Callable[[int], None] | None = None,
) -> Answers:
    """Ask everybody for the clicks of `sessions`; raises InsessionError where there is none.

    progress: called with the number of sessions that are done.
    """
    contenders = {CANDIDATE: candidate} | ({} if champion is None else {CHAMPION: champion})
    whole, missing = _Table(contenders), _Table(contenders)
    shelves = {name: Shelf(one.release, assortment) for name, one in contenders.items()}
    shown = {name: np.zeros(len(shelf.forbidden), np.int64) for name, shelf in shelves.items()}
    listed = np.zeros_like(shown[CANDIDATE])
    first_scores, samples = array("d"), _Samples()
    for batch in _batches(_questions(candidate, sessions, limits, progress)):
        lists = {
            name: one.answers([one.release.encode(question.target.events) for question in batch])
            for name, one in contenders.items()
        }
        for place, question in enumerate(batch):
            own = {name: by_batch[place] for name, by_batch in lists.items()}
            own |= {name: ranked(candidate.release, question.target.prefix.items) for name, ranked in PLAIN.items()}
            (missing if question.is_missing else whole).add(question.target, own)
            if question.is_missing:
                continue
            listed[own[CANDIDATE].item_indices[:LIST_CUT_OFF]] += 1
            for name, counts in shown.items():
                left = shelves[name].left(own[name].item_indices, question.target.events, question.target.location)
                counts[left[:LIST_CUT_OFF]] += 1
            if len(question.target.prefix.items) and len(own[CANDIDATE]):
                first_scores.append(float(own[CANDIDATE].scores[0]))
            samples.add(question.target)
    if not len(whole):
        raise InsessionError(
            "the data have no whole session of two clicks, so nothing can be checked; take more of them"
        )
    return Answers(whole.asked(), missing.asked(), listed, shown, np.array(first_scores), samples.kept)


@dataclass(frozen=True, slots=True)
class _Question:
    target: Target
    is_missing: bool


def _questions(
    candidate: Contender, sessions: Sessions, limits: CheckThresholds, progress: Callable[[int], None] | None
) -> Iterator[_Question]:
    release, first_missing = candidate.release, dict[int, Target]()
    for target in targets(release, sessions, PUBLISHED, progress):
        rest = target.session_length - limits.missing_clicks
        if rest < 1 or not _is_cut(sessions, target.session, limits):
            yield _Question(target, is_missing=False)
        elif target.position > rest:
            first = first_missing.setdefault(target.session, target)
            yield _Question(replace(target, prefix=first.prefix, events=first.events), is_missing=True)


def _is_cut(sessions: Sessions, number: int, limits: CheckThresholds) -> bool:
    """Draw a session by its name: the same one on every day and for every release."""
    return crc32(sessions.session_ids[number].encode()) < limits.missing_share * _HASHES


class _Table:
    """Rows of `Asked` as they come."""

    def __init__(self, contenders: Mapping[str, Contender]) -> None:
        self._contenders = contenders
        self._facts = list[tuple[int, ...]]()
        self._ranks = {name: array("i") for name in (*contenders, *PLAIN)}
        self._times_ms = array("q")
        self._item_ids = list[ItemId]()
        self._locations = list[str | None]()

    def __len__(self) -> int:
        return len(self._item_ids)

    def add(self, target: Target, lists: Mapping[str, Candidates]) -> None:
        """Take in everybody's lists; the champion has indices of its own."""
        for name, ranking in lists.items():
            index = target.item_index
            if name == CHAMPION:
                index = self._contenders[CHAMPION].release.index_of(target.item_id) or _UNKNOWN
            self._ranks[name].append(target_rank(ranking, index) or NO_RANK)
        self._facts.append(facts_of(target))
        self._times_ms.append(target.events[-1].time_ms)
        self._item_ids.append(target.item_id)
        self._locations.append(target.location)

    def asked(self) -> Asked:
        facts = np.array(self._facts, np.int64).reshape(-1, len(TargetFacts.__dataclass_fields__))
        ranks = {name: np.array(own, np.int32) for name, own in self._ranks.items()}
        return Asked(TargetFacts(*facts.T), ranks, np.array(self._times_ms, np.int64), self._item_ids, self._locations)


class _Samples:
    """Every question at first, then every second, and so on: never more than twice `MOST`."""

    MOST: Final = 512

    def __init__(self) -> None:
        self.kept = list[Target]()
        self._seen, self._step = 0, 1

    def add(self, target: Target) -> None:
        if self._seen % self._step == 0:
            self.kept.append(target)
        self._seen += 1
        if len(self.kept) == 2 * self.MOST:
            self.kept, self._step = self.kept[::2], 2 * self._step


def _batches(stream: Iterator[_Question]) -> Iterator[list[_Question]]:
    while batch := list(islice(stream, _BATCH_SIZE)):
        yield batch
