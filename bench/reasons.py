"""Is what an answer names as its reason true? `python -m bench.reasons`.

Judged by deletion: each item of a session is taken out of it in turn, and the recommended one falls the furthest
without its first cause. Session-kNN, the network and the reranker all read the shorter session, of the generated shop.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from agents.shop.settings import ShopSettings
from agents.shop.traffic import generate_events
from bench.release import SMALL, trained_models
from schemas.ids import ItemId
from schemas.ranking import Candidates, ModelInput
from schemas.records import SessionEvent
from schemas.servable import DEFAULT_MODEL_NAME
from serving.chain import EXPLAINED_ITEMS
from session_model.networks.exported_model import ExportedModel
from session_model.release.copies import load_release
from session_model.release.files import newest_release
from session_model.release.release import Release

BATCH = 64
NAMED, LAST, FURTHEST = "the named item", "the last item", "the first cause"


@dataclass(slots=True)
class Tally:
    """How often a guess was the first cause, and how far the log of the probability fell without it."""

    guesses: int = 0
    hits: int = 0
    fall: float = 0.0

    def add(self, falls: Sequence[float], place: int) -> None:
        """Take in one guess: what fell by taking out each item of the session, and which of them was named."""
        self.guesses += 1
        self.hits += falls[place] == max(falls)
        self.fall += falls[place]


@dataclass(slots=True)
class Reasons:
    """What was found. items: of the first ones, not seen before; said: for how many a reason is named."""

    items: int = 0
    said: int = 0
    tallies: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))

    def share(self, guess: str) -> float:
        """Return how often a guess was the first cause."""
        return self.tallies[guess].hits / max(1, self.tallies[guess].guesses)

    def fall(self, guess: str) -> float:
        """Return how far an item falls without what is guessed, as a share of the furthest that it could."""
        return self.tallies[guess].fall / self.tallies[FURTHEST].fall


def sessions_of(shop: ShopSettings, count: int, begin: timedelta = timedelta(hours=36)) -> list[list[SessionEvent]]:
    """Return the views of so many sessions of at least three."""
    views: dict[tuple[str, int], list[SessionEvent]] = defaultdict(list)
    for event in generate_events(shop, timedelta(hours=2), begin=begin):
        clicked, truth = event.click, event.truth
        if clicked.event_type == "view" and not truth.is_bot and not truth.is_duplicate:
            key = clicked.visitor_id, truth.session_number
            views[key].append(SessionEvent("view", clicked.event_time_ms, clicked.item_id))
    found = [sorted(session, key=lambda one: one.time_ms) for session in views.values()]
    return [session for session in found if 3 <= len(session) <= 9 and len({one.item_id for one in session}) > 2][
        :count
    ]


def judged(release: Release, model: ExportedModel, sessions: Sequence[Sequence[SessionEvent]]) -> Reasons:
    """Take each item out of each session, and hold what is named for its first answers against what falls."""
    reasons, asked, jobs = Reasons(), list[ModelInput](), list[tuple[int, list[int]]]()
    for session in sessions:
        row = release.encode(session)
        distinct = list(dict.fromkeys(row.items.tolist()))
        jobs.append((len(asked), distinct))
        asked += [row, *(replace(row, items=row.items[row.items != one]) for one in distinct)]
    ranked = list(blended(release, model, asked))
    for first, distinct in jobs:
        neighbours = release.neighbours(asked[first].items)
        for index in ranked[first].item_indices[:EXPLAINED_ITEMS].tolist():
            if index in distinct:
                continue
            reasons.items += 1
            (cause,) = release.because([release.item_id(index)], neighbours)
            if cause is None:
                continue
            reasons.said += 1
            left = ranked[first + 1 : first + 1 + len(distinct)]
            falls = [_log_score(ranked[first], index) - _log_score(without, index) for without in left]
            named = distinct.index(release.index_of(ItemId(cause)))  # type: ignore[arg-type]
            last = distinct.index(int(asked[first].items[-1]))
            for guess, place in ((NAMED, named), (LAST, last), (FURTHEST, int(np.argmax(falls)))):
                reasons.tallies[guess].add(falls, place)
    return reasons


def blended(release: Release, model: ExportedModel, asked: Sequence[ModelInput]) -> Iterator[Candidates]:
    """Rank for each row as a worker does."""
    for at in range(0, len(asked), BATCH):
        rows = asked[at : at + BATCH]
        prefixes = [row.items for row in rows]
        yield from release.blend_many(model.rank(rows), [release.neighbours(one) for one in prefixes], prefixes)


def _log_score(ranking: Candidates, index: int) -> float:
    """Return the log of a candidate's probability; of one that is none, e times less than the last one's."""
    place = np.flatnonzero(ranking.item_indices == index)
    return float(np.log(ranking.scores[place[0]])) if len(place) else float(np.log(ranking.scores[-1])) - 1.0


@click.command()
@click.option("--sessions", default=500, show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default=Path(".bench"), show_default=True)
def main(sessions: int, cache: Path) -> None:
    """Judge what the trained release of the bench names."""
    release = load_release(newest_release(trained_models(cache) / DEFAULT_MODEL_NAME))
    reasons = judged(release, ExportedModel.of(release), sessions_of(ShopSettings(n_items=SMALL), sessions))
    table = Table("taken out", "is the first cause", "fall, of the furthest", title=f"{sessions:,} sessions")
    for guess in (NAMED, LAST, FURTHEST):
        table.add_row(guess, f"{reasons.share(guess):.3f}", f"{reasons.fall(guess):.3f}")
    Console().print(table)
    Console().print(f"{reasons.said:,} of {reasons.items:,} items of the first {EXPLAINED_ITEMS} have a reason")


if __name__ == "__main__":
    main()
