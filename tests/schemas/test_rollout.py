"""What is in force, for whom, and in which order releases are tried."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from schemas.ids import ModelVersion, VisitorId
from schemas.rollout import (
    MAX_ROLLOUT_BYTES,
    Candidate,
    Rollout,
    RolloutError,
    preference,
    read_rollout,
    record_name,
)

VISITORS = [VisitorId(f"visitor-{number}") for number in range(20_000)]


def rollout(revision: int = 1, champion: int = 5, **values: object) -> Rollout:
    """Make a record."""
    return Rollout(
        revision=revision,
        changed_at=datetime(2026, 1, 1, tzinfo=UTC),
        change="promote",
        reason="",
        by="ana",
        champion=ModelVersion(champion),
        **values,
    )


def write(folder: Path, content: bytes, revision: int = 1) -> None:
    """Put a record into the folder of a model."""
    path = folder / record_name(revision)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def canary(share: float, version: int = 6) -> Candidate:
    """Make a canary."""
    return Candidate(version=ModelVersion(version), stage="canary", share=share)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_canary_has_its_share_of_the_visitors(share: float) -> None:
    """Within five standard errors."""
    has = sum(map(canary(share).has, VISITORS))
    assert abs(has - share * len(VISITORS)) < 5 * (share * (1 - share) * len(VISITORS)) ** 0.5


def test_a_visitor_stays_with_a_canary_that_grows() -> None:
    """Nobody sees two models in turns."""
    before, after = canary(0.1), canary(0.3)
    assert all(after.has(visitor) for visitor in VISITORS if before.has(visitor))


def test_the_next_canary_gets_others() -> None:
    """Not the same visitors try every model: of those of one, a tenth are of the next."""
    of_both = [visitor for visitor in VISITORS if canary(0.1).has(visitor) and canary(0.1, version=7).has(visitor)]
    assert 100 < len(of_both) < 300


def test_all_and_none_are_shares() -> None:
    """Of everybody, and of nobody."""
    assert all(map(canary(1.0).has, VISITORS))
    assert not any(map(canary(0.0).has, VISITORS))


@pytest.mark.parametrize(
    ("record", "order"),
    [
        (None, [8, 7, 6, 5, 4]),
        (rollout(champion=5), [5, 8, 7, 6, 4]),
        (rollout(champion=5, previous=ModelVersion(4)), [5, 4, 8, 7, 6]),
        (rollout(champion=5, candidate=canary(0.1, version=8), rejected=(ModelVersion(7),)), [5, 6, 4]),
        (rollout(champion=9, previous=ModelVersion(4)), [4, 8, 7, 6, 5]),
    ],
)
def test_the_champion_is_tried_first_then_the_one_before(record: Rollout | None, order: Sequence[int]) -> None:
    """Then others, so that something serves; never what was rejected or is on trial."""
    assert preference(map(ModelVersion, (4, 5, 6, 7, 8)), record) == order


def test_the_highest_record_is_in_force(tmp_path: Path) -> None:
    """Whatever else lies beside it."""
    assert read_rollout(tmp_path) is None
    for revision in (1, 2, 10):
        write(tmp_path, msgspec.json.encode(rollout(revision)), revision)
    write(tmp_path, b"being written", revision=11)
    (tmp_path / record_name(11)).rename(tmp_path / record_name(11)[: -len(".json")])
    found = read_rollout(tmp_path)
    assert found is not None
    assert found.revision == 10


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"revision":', b"[" * 5000, b"\xff", b" " * (MAX_ROLLOUT_BYTES + 1)],
    ids=["empty", "no fields", "cut", "nested", "no UTF-8", "large"],
)
def test_a_record_that_is_none_is_said(tmp_path: Path, content: bytes) -> None:
    """Nothing of it is believed."""
    write(tmp_path, content)
    with pytest.raises(RolloutError, match=r"000000000001\.json .*what serves stays"):
        read_rollout(tmp_path)
