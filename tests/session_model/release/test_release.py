"""A release in use: what its parts answer."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from schemas.ids import ItemId, ItemIndex
from schemas.ranking import Candidates, Neighbours
from schemas.records import CatalogItem, SessionEvent, Trending
from schemas.release_folder import ReleaseError
from serving.parts import ReleaseParts
from session_model.fitting.cold_start import Described
from session_model.fitting.content_voice import fit_voice
from session_model.intent.prefix_features import FEATURE_NAMES, prefix_features
from session_model.ranking.cold_items import Discounts
from session_model.ranking.cold_start import ColdStart
from session_model.ranking.item_vectors import ItemVectors
from session_model.ranking.popularity import Popularity
from session_model.ranking.reranker import FEATURE_NAMES as RERANKER_FEATURES
from session_model.ranking.reranker import CandidateSources, Reranker, rerank
from session_model.release.copies import load_release
from tests.builders.releases import (
    CATEGORIES,
    ITEMS,
    SHARES,
    release_parts,
    seal,
    two_session_parts,
    write_release,
    written_release,
)
from tests.builders.trending import told

N_FEATURES = len(FEATURE_NAMES)


def test_an_index_that_no_item_has_is_an_error(tmp_path: Path) -> None:
    """That of the padding, and one beyond the vocabulary."""
    release = load_release(write_release(tmp_path))
    for index in (0, 5):
        with pytest.raises(IndexError):
            release.item_id(ItemIndex(index))


def test_a_loaded_release_is_what_serving_needs(tmp_path: Path) -> None:
    """It answers every call of the protocol with what was fitted."""
    release: ReleaseParts = load_release(write_release(tmp_path))
    prefix = np.array([1, 2], np.int32)
    assert release.version == 3
    assert release.item_id(ItemIndex(4)) == "d\n"
    near = release.neighbours(prefix)
    best = release.item_id(ItemIndex(int(near.item_indices[0])))
    asked = [best, ItemId("unheard-of")]
    assert release.scores_of(near, asked) == {best: near.scores[0]}
    voted, anchors = np.array([4, 1], np.int32), np.array([1, -1], np.int32)
    owed = Neighbours(near.item_indices, near.scores, voted, anchors, np.array([3, 2]))
    assert release.because([ItemId("a"), ItemId("d\n"), ItemId("unheard-of")], owed) == [None, "b", None]
    assert release.with_kept(near, asked, 1.0).scores[0] == near.scores[0] * np.float32(np.e)
    assert (
        release.neighbours(prefix).item_indices.tolist()
        == two_session_parts().knn.query(prefix, 3).item_indices.tolist()
    )
    assert release.popular().item_indices.tolist() == [2, 1, 3]
    model = Candidates(np.array([4], np.int32), np.array([0.9], np.float32))
    assert release.blend(model, Candidates.none(), prefix).item_indices.tolist() == [4, 2, 1]
    assert release.intent(np.zeros(N_FEATURES, np.float32)).purchase == pytest.approx(1 / (1 + np.exp(2.0)))


def test_encode_takes_the_latest_known_items_of_the_input_types(tmp_path: Path) -> None:
    """Other types and unseen items are no model input, but the features see every event."""
    release = load_release(write_release(tmp_path))
    names = ("view:a", "view:b", "cart:a", "view:new", "view:c", "search:")
    events = [
        SessionEvent(name, n, ItemId(item) or None)  # type: ignore[arg-type] # the names are event types
        for n, (name, item) in enumerate(word.split(":") for word in names)
    ]
    encoded = release.encode(events)
    assert encoded.items.tolist() == [2, 3]
    assert encoded.items.dtype == np.int32
    assert encoded.features.tolist() == prefix_features(events).tolist()
    assert release.encode([]).items.tolist() == []


def cold_start() -> ColdStart:
    """Describe a as a hat, b as a boot, c as both, and two items that nobody clicked; a to d are well known."""
    described = {"a": "hat", "b": "boot", "c": "hat boot", "e": "hat", "f": "boot"}
    records = [CatalogItem(item_id=ItemId(item), title=title) for item, title in described.items()]
    found = Described(records, two_session_parts().vocabulary).cold_start(
        np.array([0, 9, 9, 9, 9]), Discounts(0.5, 0.25, 0.0)
    )
    assert found is not None
    return found


def view(item: str) -> SessionEvent:
    """View an item."""
    return SessionEvent("view", 0, ItemId(item))


def test_an_unseen_item_is_read_as_the_one_most_like_it(tmp_path: Path) -> None:
    """Where its content is known; and it is said where not one item is read as itself."""
    release = load_release(write_release(tmp_path, cold_start=cold_start()))
    encoded = release.encode([view("f"), view("who?"), view("e")])
    assert (encoded.items.tolist(), encoded.is_by_content) == ([2, 1], True)
    encoded = release.encode([view("f"), view("c")])
    assert (encoded.items.tolist(), encoded.is_by_content) == ([2, 3], False)
    assert not release.encode([view("who?")]).is_by_content


def test_items_without_clicks_are_listed_beside_what_they_are_like(tmp_path: Path) -> None:
    """They have names and indices of their own, and count as never clicked."""
    release = load_release(write_release(tmp_path, cold_start=cold_start()))
    model = Candidates(np.array([2], np.int32), np.array([1.0], np.float32))
    ranking = release.blend(model, Candidates.none(), np.array([], np.int32))
    assert [release.item_id(ItemIndex(index)) for index in ranking.item_indices.tolist()] == ["b", "f"]
    assert ranking.scores[1] < 0.25 * ranking.scores[0]
    assert release.index_of(ItemId("f")) == 6
    assert release.popularity().counts.tolist() == [*two_session_parts().popularity.counts.tolist(), 0, 0]


def test_a_release_learns_what_the_catalog_describes_later(tmp_path: Path) -> None:
    """A new item gets a place in lists and can be read; what is known or like nothing changes nothing."""
    release = load_release(write_release(tmp_path, cold_start=cold_start()))
    known = [CatalogItem(item_id=ItemId("a"), title="boot"), CatalogItem(item_id=ItemId("e"), title="boot")]
    assert release.with_catalog([*known, CatalogItem(item_id=ItemId("car"), title="car")]) is release
    told = release.with_catalog([CatalogItem(item_id=ItemId("g"), title="boot"), *known])
    assert told.with_catalog([CatalogItem(item_id=ItemId("g"), title="boot")]) is told
    assert told.encode([view("g"), view("e")]).items.tolist() == [2, 1]
    model = Candidates(np.array([2], np.int32), np.array([1.0], np.float32))
    ranking = told.blend(model, Candidates.none(), np.array([], np.int32))
    assert [told.item_id(ItemIndex(index)) for index in ranking.item_indices.tolist()] == ["b", "g", "f"]
    assert release.index_of(ItemId("g")) is None


def test_a_release_ranks_by_what_is_viewed_of_late_while_it_is_told(tmp_path: Path) -> None:
    """And by training alone again when it is not; what the catalog says is kept. It is another release each time."""
    by_trend = Reranker(
        RERANKER_FEATURES,
        tuple(float(name == "latest_trend") for name in RERANKER_FEATURES),
        ((),) * len(RERANKER_FEATURES),
        (),
        (),
        SHARES,
    )
    release = load_release(write_release(tmp_path, reranker=by_trend, cold_start=cold_start()))
    model = Candidates(np.array([1, 2, 3], np.int32), np.array([0.5, 0.3, 0.2], np.float32))

    def first(of: ReleaseParts) -> str:
        (ranking,) = of.blend_many([model], [Candidates.none()], [np.array([], np.int32)])
        return of.item_id(ItemIndex(int(ranking.item_indices[0])))

    def viewed(item: str) -> Trending:
        return told((5.0,), {item: (5.0,)})

    by_training = first(release)
    renewed = release.with_trending(viewed("c"))
    assert (first(renewed), first(renewed.with_trending(viewed("a")))) == ("c", "a")
    assert first(renewed.with_catalog([CatalogItem(item_id=ItemId("g"), title="boot")])) == "c"
    assert first(renewed.with_trending(None)) == first(release) == by_training
    assert release.with_trending(None) is release
    assert release.with_trending(told((), {})) is release


def test_a_release_without_a_reranker_has_nothing_to_renew(tmp_path: Path) -> None:
    """The plain blend knows no popularity."""
    release = load_release(write_release(tmp_path))
    assert release.with_trending(told((5.0,), {"c": (5.0,)})) is release


def looks() -> ItemVectors:
    """Let a, b and g look like one thing, c, d and e like another; nobody clicked e and g."""
    one, other = [1.0, 0.0], [0.0, 1.0]
    return ItemVectors(
        np.array([one, one, other, other, other, one], np.float16), [ItemId("e"), ItemId("g")], share=1.0
    )


def test_a_new_item_with_a_vector_is_listed_at_once(tmp_path: Path) -> None:
    """The release has its vector; all that the catalog need say is that the shop has it."""
    described = Described([], two_session_parts().vocabulary, looks())
    popularity = Popularity.fit(np.tile(ITEMS, 9), 4)
    cold = described.cold_start(popularity.counts, Discounts(0.5, 0.25, 0.0))
    parts = release_parts(described.vocabulary.item_ids, popularity=popularity, cold_start=cold)
    release = written_release(tmp_path, parts)
    assert release.index_of(ItemId("g")) is None
    told = release.with_catalog([CatalogItem(item_id=ItemId(item)) for item in ("g", "h")])
    assert told.encode([view("g"), view("h")]).items.tolist() == [1]
    model = Candidates(np.array([1], np.int32), np.array([1.0], np.float32))
    ranking = told.blend(model, Candidates.none(), np.array([], np.int32))
    assert [told.item_id(ItemIndex(index)) for index in ranking.item_indices.tolist()] == ["a", "g"]
    assert told.scores_of(ranking, [ItemId("h"), ItemId("g")]) == {"g": ranking.scores[1]}


def test_content_speaks_where_it_has_a_share(tmp_path: Path) -> None:
    """After c comes d, which looks like it; a release whose list of that is gone is refused."""
    described = Described([], two_session_parts().vocabulary, looks())
    counts = np.array([0, 9, 9, 9, 9])
    directory = write_release(
        tmp_path, cold_start=described.cold_start(counts), content_voice=fit_voice(described, counts)
    )
    release, prefix = load_release(directory), np.array([3], np.int32)
    ranking = release.blend(Candidates(np.array([2], np.int32), np.ones(1, np.float32)), Candidates.none(), prefix)
    assert dict(zip(ranking.item_indices.tolist(), ranking.scores.tolist(), strict=True)) == pytest.approx(
        {2: 0.2, 3: 0.1, 4: 0.3}
    )
    (directory / "assets.extra/content_voice.npz").unlink()
    seal(directory)
    with pytest.raises(ReleaseError, match=r"content_voice\.npz is missing; copy the release again"):
        load_release(directory)


def test_vectors_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    """They would be those of other items."""
    cold = Described([], two_session_parts().vocabulary, looks()).cold_start(np.array([0, 9, 9, 9, 9]))
    directory = write_release(tmp_path, cold_start=cold)
    np.save(directory / "assets.extra/item_vectors/vectors.npy", np.zeros((9, 2), np.float16))
    seal(directory)
    with pytest.raises(
        ReleaseError, match=r"item_vectors cannot be read .*another vocabulary.*; copy the release again"
    ):
        load_release(directory)


def test_the_features_see_categories_also_of_what_the_catalog_describes_later(tmp_path: Path) -> None:
    """A new item of a known category is read by it, though it is like nothing that was clicked."""
    release = load_release(write_release(tmp_path, cold_start=cold_start()))
    assert release.parts.categories == CATEGORIES
    events = [view("a"), view("g")]
    assert release.encode(events).features.tolist() == prefix_features(events, CATEGORIES).tolist()
    told = release.with_catalog([CatalogItem(item_id=ItemId("g"), category="boots", title="car")])
    known = replace(CATEGORIES, later={ItemId("g"): 1})
    assert told.encode(events).features.tolist() == prefix_features(events, known).tolist()
    assert told.with_catalog([CatalogItem(item_id=ItemId("g"), category="boots", title="car")]) is told


def test_what_is_known_of_categories_depends_on_the_last_catalog_alone(tmp_path: Path) -> None:
    """First a title, then a category, also of an item that was clicked: as if all was said at once; so at a removal."""
    release = load_release(write_release(tmp_path, cold_start=cold_start()))
    first = [CatalogItem(item_id=ItemId("g"), title="boot")]
    last = [CatalogItem(item_id=ItemId(name), title="boot", category="boots") for name in ("g", "c", "e")]
    bit_by_bit = release.with_catalog(first).with_catalog(last)
    assert bit_by_bit.parts.categories == release.with_catalog(last).parts.categories
    assert [bit_by_bit.parts.categories.place_of(ItemId(name)) for name in ("g", "c", "e")] == [1, 1, 1]
    assert bit_by_bit.with_catalog(first).parts.categories == release.parts.categories


def test_without_a_catalog_in_training_none_is_taken_in(tmp_path: Path) -> None:
    """Such a release has nothing to compare with, and has no such files."""
    directory = write_release(tmp_path)
    release = load_release(directory)
    assert release.with_catalog([CatalogItem(item_id=ItemId("g"), title="boot")]) is release
    assert not (directory / "assets.extra/content.npz").exists()
    assert not (directory / "assets.extra/categories.json").exists()


def test_without_purchases_there_is_no_probability(tmp_path: Path) -> None:
    """A release without an intent model says None and has no such file."""
    directory = write_release(tmp_path, intent=None)
    assert not load_release(directory).intent(np.zeros(N_FEATURES, np.float32)).is_known
    assert not (directory / "assets.extra/intent.json").exists()


def test_a_release_with_a_reranker_blends_by_it(tmp_path: Path) -> None:
    """It is one more part; where it is missing the shares decide."""
    linear = tuple(float(name == "log_popularity") for name in RERANKER_FEATURES)
    by_popularity = Reranker(RERANKER_FEATURES, linear, ((),) * len(linear), (), (), SHARES)
    release = load_release(write_release(tmp_path, reranker=by_popularity))
    model, neighbours, items = Candidates(np.array([1], np.int32), np.ones(1, np.float32)), Candidates.none(), ITEMS[:1]
    expected = rerank(by_popularity, CandidateSources(model, neighbours, items, release.parts.popularity), 3)
    assert release.blend(model, neighbours, items).scores.tolist() == expected.scores.tolist()
