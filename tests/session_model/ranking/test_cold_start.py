"""How boldly cold items are listed: as boldly as the validation slice allows."""

import numpy as np

from schemas.ids import ItemId, ItemIndex
from schemas.ranking import Candidates
from schemas.records import CatalogItem
from session_model.data.vocabulary import Vocabulary
from session_model.fitting.cold_start import DEFAULT_DISCOUNTS, GRID, MIN_EVIDENCE, Described, Ranked
from session_model.runs.progress import NoProgress

N_WARM = 30
COUNTS = np.array([0, *[10] * N_WARM, 0])
"""The items 1 to 30 are well known, the last one first appears in the slice."""
VOCABULARY = Vocabulary(ItemId(str(n)) for n in range(1, N_WARM + 2))
RECORDS = [CatalogItem(item_id=ItemId(str(n)), title=f"word{n % 3}") for n in range(1, N_WARM + 2)]
"""Items whose numbers have the same rest by three are alike."""


def ranked(target: int, n_lists: int = 50) -> Ranked:
    """Rank the items that are like the last one, and ask for `target`."""
    items = np.arange(1, N_WARM + 1, 3, dtype=np.int32)
    ranking = Candidates(items, np.linspace(0.2, 0.1, len(items), dtype=np.float32))
    return [(ranking, ItemIndex(target))] * n_lists


def test_where_unclicked_items_are_clicked_they_are_listed_boldly() -> None:
    """Every target of the slice is the unclicked item: nothing is better than to list it high."""
    chosen = Described(RECORDS, VOCABULARY).choose_discounts(COUNTS, ranked(N_WARM + 1), NoProgress())
    assert chosen.unclicked == max(GRID)


def test_where_they_only_take_places_they_are_not() -> None:
    """Most targets are a well-known item at the end of the list: a bold unclicked item would push it down."""
    lists = [*ranked(28, 1_000), *ranked(N_WARM + 1, MIN_EVIDENCE)]
    chosen = Described(RECORDS, VOCABULARY).choose_discounts(COUNTS, lists, NoProgress())
    assert chosen.unclicked < max(GRID)


def test_what_nothing_tells_of_keeps_its_default() -> None:
    """No target is cold, or masked: that is no evidence of harm, nor that nobody wants what is new."""
    few = [*ranked(28), *ranked(N_WARM + 1, MIN_EVIDENCE - 1)]
    chosen = Described(RECORDS[:9], VOCABULARY).choose_discounts(COUNTS, few, NoProgress())
    assert chosen == DEFAULT_DISCOUNTS


def test_new_items_are_judged_by_masked_ones() -> None:
    """Targets are well-known items; some of them are masked, and only as new ones can they be found."""
    alike = [CatalogItem(item_id=item_id, title="word") for item_id in VOCABULARY.item_ids]
    ranking = Candidates(np.arange(1, 21, dtype=np.int32), np.linspace(0.2, 0.1, 20, dtype=np.float32))
    lists = [(ranking, ItemIndex(target)) for target in range(1, N_WARM + 1)] * 12
    chosen = Described(alike, VOCABULARY).choose_discounts(COUNTS, lists, NoProgress())
    assert 0 < chosen.new != DEFAULT_DISCOUNTS.new


def test_the_choice_is_the_same_every_time() -> None:
    """Masking is seeded."""
    lists = [one for target in range(1, N_WARM + 1) for one in ranked(target, 2)]
    described = Described(RECORDS, VOCABULARY)
    first, second = (described.choose_discounts(COUNTS, lists, NoProgress()) for _ in range(2))
    assert first == second


def test_without_a_catalog_there_is_no_such_part() -> None:
    """Nothing is learned, and the defaults are those of too few sessions."""
    nothing = Described([], VOCABULARY)
    assert nothing.cold_start(COUNTS) is None
    assert nothing.choose_discounts(COUNTS, ranked(1), NoProgress()) == DEFAULT_DISCOUNTS
