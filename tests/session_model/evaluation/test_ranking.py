"""The protocol of the evaluation, with a model whose answers are known."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from schemas.errors import InsessionError
from schemas.ids import ItemId, SessionId
from schemas.ranking import Candidates, ModelInput
from session_model.data.sessions import EVENT_TYPE_CODES, Sessions
from session_model.evaluation.ranking import MODELS, Baseline, EvaluationPlan, HeldOut, evaluate, targets
from session_model.release.release import Release
from tests.builders.releases import release_parts, written_release

STARTS, ITEMS = np.array([0, 3, 5]), np.array([1, 2, 3, 2, 4], np.int32)


class NextIndex:
    """A model that recommends the item after the last one, and then the one after that."""

    def rank(self, inputs: Sequence[ModelInput]) -> list[Candidates]:
        """Rank last + 1 before last + 2; nothing for an empty prefix."""
        return [
            Candidates(row.items[-1] + np.array([1, 2], np.int32), np.array([0.6, 0.4], np.float32))
            if len(row.items)
            else Candidates.none()
            for row in inputs
        ]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Release the items 1 to 5 of two training sessions; the model alone decides the blend."""
    return written_release(tmp_path_factory.mktemp("release"), release_parts("12345"))


def held_out(*rows: str) -> HeldOut:
    """Make sessions of words; a word is a viewed item, `cart:x` an event of another type."""
    words = [word for row in rows for word in row.split()]
    item_ids = sorted({word.rpartition(":")[2] for word in words})
    sessions = Sessions(
        session_ids=[SessionId(str(n)) for n in range(len(rows))],
        starts=np.cumsum([0, *(len(row.split()) for row in rows)]),
        items=np.array([item_ids.index(word.rpartition(":")[2]) for word in words], np.int32),
        item_ids=[ItemId(item) for item in item_ids],
        times_ms=None,
        event_types=np.array([EVENT_TYPE_CODES.index(word.rpartition(":")[0] or "view") for word in words], np.uint8),
        prices=np.full(len(words), np.nan, np.float32),
    )
    return HeldOut("rows", sessions)


def asked(release: Release, test: HeldOut, plan: EvaluationPlan) -> list[tuple[list[int], int]]:
    """List the targets with their prefixes."""
    return [(target.prefix.items.tolist(), target.item_index) for target in targets(release, test.sessions, plan)]


def test_every_position_after_the_first_is_a_target(release: Release) -> None:
    """A session of one click asks nothing; the prefix holds all before the target."""
    expected = [([1], 2), ([1, 2], 4)]
    assert asked(release, held_out("1 2 4", "3"), EvaluationPlan()) == expected


def test_other_event_types_are_neither_targets_nor_positions(release: Release) -> None:
    """A cart event between two views changes the features, not the question."""
    assert asked(release, held_out("1 cart:3 2"), EvaluationPlan()) == [([1], 2)]


def test_unseen_items_are_misses_or_dropped(release: Release) -> None:
    """`miss` asks for the unseen item too; `drop` behaves as if nobody had clicked it."""
    test = held_out("1 new 2", "new 3")
    assert asked(release, test, EvaluationPlan(unseen="miss")) == [([1], 0), ([1], 2), ([], 3)]
    assert asked(release, test, EvaluationPlan(unseen="drop")) == [([1], 2)]


def test_the_first_target_skips_early_positions(release: Release) -> None:
    """From position 3 on, the first question has a prefix of two."""
    assert asked(release, held_out("1 2 3 4"), EvaluationPlan(first_target=3)) == [([1, 2], 3), ([1, 2, 3], 4)]


def test_models_side_by_side(release: Release) -> None:
    """Of 2 after 1, 4 after 2 and 5 after 1, the model ranks the first at 1, the second at 2, and misses the third."""
    steps: list[int] = []
    result = evaluate(release, NextIndex(), held_out("1 2", "2 4", "1 5"), progress=steps.append)
    assert (result.dataset, result.targets, result.unseen) == ("rows", 3, "miss")
    assert tuple(result.models) == MODELS
    assert result.models["gru"]["recall_at_1"] == pytest.approx(1 / 3)
    assert result.models["gru"]["recall_at_20"] == pytest.approx(2 / 3)
    assert result.models["gru"]["mrr_at_20"] == pytest.approx((1 + 1 / 2) / 3)
    assert result.models["blend"] == result.models["gru"]
    # Trained successors: 1 is followed by 2 (weight 1) and 3 (1/2), 2 by 3 and 4 (1 each: a tie ranks at 2).
    assert result.models["transitions"]["mrr_at_20"] == pytest.approx((1 + 1 / 2) / 3)
    assert result.models["popular"]["recall_at_20"] == pytest.approx(2 / 3)
    assert steps == [1, 2, 3]


def test_an_unknown_prefix_is_answered_by_what_is_popular(release: Release) -> None:
    """As served: the blend is not asked, popularity answers."""
    models = evaluate(release, NextIndex(), held_out("new 2")).models
    assert models["blend"]["recall_at_1"] == models["popular"]["recall_at_1"] == 1
    assert models["gru"]["recall_at_20"] == models["knn"]["recall_at_20"] == 0


def test_the_json_has_exactly_the_published_fields(release: Release) -> None:
    """Dashboards and gates read these names."""
    result = msgspec.json.decode(msgspec.json.encode(evaluate(release, NextIndex(), held_out("1 2"))))
    assert list(result)[:4] == ["dataset", "targets", "unseen", "models"]
    assert set(result["models"]) == {"blend", "gru", "knn", "transitions", "popular"}
    expected = {f"{metric}_at_{k}" for metric in ("recall", "mrr", "ndcg") for k in (1, 5, 10, 20)}
    looks = {f"{look}_at_20" for look in ("coverage", "popularity_bias", "gini", "novelty")}
    assert set(result["models"]["knn"]) == expected | looks


def test_targets_are_parted_by_what_they_are(release: Release) -> None:
    """Each slice names its targets; one that has none is not there; the parts of one kind add up.

    Nobody clicked item 5 in training.
    """
    result = evaluate(release, NextIndex(), held_out("1 2 4", "2 new", "1 5"))
    counts = {kind: {part: one.targets for part, one in parts.items()} for kind, parts in result.slices.items()}
    assert counts["position"] == {"2": 3, "3": 1}
    assert counts["session length"] == {"2": 2, "3": 2}
    assert counts["popularity"]["unseen"] == 2
    assert counts["item clicks in training"] == {"0, unknown": 1, "0, by content": 1, "1-4": 2}
    assert counts["item age"] == {"never clicked": 2, "5-20 %": 1, "50-100 %": 1}
    assert counts["prefix"] == {"known": 4}
    assert sum(counts["popularity"].values()) == result.targets == 4
    assert result.slices["position"]["3"].models["gru"] == {"recall_at_20": 1.0, "mrr_at_20": 0.5}


def test_a_test_file_without_target_is_an_error(release: Release) -> None:
    """Sessions of one click measure nothing."""
    with pytest.raises(InsessionError, match="no target"):
        evaluate(release, NextIndex(), held_out("1", "2"))


def test_a_baseline_answers_the_same_questions_in_its_own_vocabulary(release: Release, tmp_path: Path) -> None:
    """Its item 2 is the 3 of the release, and so on: it is right where last + 1 in ITS numbers is the target."""
    other = written_release(tmp_path, release_parts("1324"))
    test = held_out("1 3", "3 2", "1 5", "new 3")
    result = evaluate(release, NextIndex(), test, baselines={"published": Baseline(other, NextIndex())})
    assert list(result.models) == [*MODELS, "published"]
    assert result.models["published"]["recall_at_1"] == pytest.approx(2 / 4)
    assert result.models["gru"]["recall_at_1"] == 0
    paired = result.differences["published"]["recall_at_20"]
    assert paired.value == pytest.approx(
        result.models["blend"]["recall_at_20"] - result.models["published"]["recall_at_20"]
    )
    assert result.intervals["published"]["mrr_at_20"].value == pytest.approx(2 / 4)
    assert result.slices["position"]["2"].models["published"]["recall_at_20"] == pytest.approx(2 / 4)


def test_an_item_that_a_baseline_has_not_seen_is_its_miss(release: Release, tmp_path: Path) -> None:
    """The release knows item 5, the baseline does not; nobody is asked less for it, dropped or not."""
    other = written_release(tmp_path, release_parts("12346"))
    for plan in (EvaluationPlan("miss"), EvaluationPlan("drop")):
        result = evaluate(release, NextIndex(), held_out("3 5"), plan, None, {"old": Baseline(other, NextIndex())})
        assert result.targets == 1
        assert [result.models[name]["recall_at_20"] for name in ("gru", "old")] == [1, 0]
