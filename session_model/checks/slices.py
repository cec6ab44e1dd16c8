"""The parts of the clicks on which a release is judged."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemId
from session_model.checks.answers import Asked
from session_model.checks.contract import CheckInputs
from session_model.evaluation.comparison import target_parts

KINDS: Final = ("session length", "popularity", "item age", "prefix")
"""Of those of an evaluation; new items are the youngest of `item age`, and those never clicked."""
ITEM_KINDS: Final = ("popularity", "item age", "category")
"""Kinds that are told by what was clicked, so not known when the answer is made."""
MOST_CATEGORIES: Final = 12
MOST_LOCATIONS: Final = 12
_HOURS: Final = 6
_MS_PER_HOUR: Final = 3_600_000
_OTHERS: Final = "others"


def parts_of(given: CheckInputs, asked: Asked) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Part the clicks by length, popularity, age, what is known, hour, location and category; empty parts are left out.

    Hours are UTC. Of locations and categories the most frequent have a part each. A category is the first part of the
    catalog's name for it, as in `food/fruit`.
    """
    parts = target_parts(asked.facts, given.candidate.release.popularity())
    found = {kind: parts[kind] for kind in KINDS}
    if asked.times_ms.any():
        hours = asked.times_ms // _MS_PER_HOUR % 24
        found["hour"] = {
            f"{first:02}-{first + _HOURS:02} h": hours // _HOURS == first // _HOURS for first in range(0, 24, _HOURS)
        }
    if locations := _most(asked.locations, MOST_LOCATIONS):
        found["location"] = locations
    if categories := _most([category_of(given, item_id) for item_id in asked.item_ids], MOST_CATEGORIES):
        found["category"] = categories
    return {kind: {part: rows for part, rows in of_kind.items() if rows.any()} for kind, of_kind in found.items()}


def category_of(given: CheckInputs, item_id: ItemId) -> str | None:
    """Return the first part of an item's category, by the catalog, else by what the release was trained with."""
    record, categories = given.assortment.items.get(item_id), given.candidate.release.parts.categories
    name = None if record is None else record.category
    if name is None and (place := categories.place_of(item_id)) is not None:
        name = categories.names[place]
    return None if name is None else name.partition("/")[0]


def _most(names: Sequence[str | None], most: int) -> dict[str, NDArray[np.bool_]]:
    """Part the rows by name, the rare ones together; those without one are in no part."""
    listed = [name for name, _ in Counter(filter(None, names)).most_common(most)]
    of_row = np.array([name if name in listed else _OTHERS if name else "" for name in names])
    return {name: of_row == name for name in (*listed, _OTHERS)} if listed else {}
