"""Which versions a server serves, with and without a rollout."""

from datetime import UTC, datetime

import pytest

from schemas.ids import ModelVersion
from schemas.rollout import Candidate, Rollout
from serving.embedded.policies import AllVersions, LatestVersions, SpecificVersions

RECORD = Rollout(
    revision=3,
    changed_at=datetime(2026, 1, 1, tzinfo=UTC),
    change="canary",
    reason="",
    by="ana",
    champion=ModelVersion(3),
    previous=ModelVersion(2),
    candidate=Candidate(version=ModelVersion(5), stage="canary", share=0.1),
    rejected=(ModelVersion(4),),
)


@pytest.mark.parametrize(
    ("on_disk", "rollout", "served"),
    [
        ([1, 2, 3, 4, 5], None, {4, 5}),
        ([1, 2, 3, 4, 5], RECORD, {2, 3, 5}),
        ([1, 2, 4, 5, 6], RECORD, {2, 5, 6}),
        ([1, 2, 3, 4], RECORD, {2, 3}),
        ([4, 5], RECORD, {5}),
    ],
    ids=["without a rollout", "all are there", "no champion", "no candidate", "none but what is on trial"],
)
def test_the_latest_are_those_that_the_workers_would_rather_use(
    on_disk: list[int], rollout: Rollout | None, served: set[int]
) -> None:
    """Champion and previous, so that a step back waits for no load; and what is on trial."""
    assert LatestVersions(2).aspired(on_disk, rollout) == served


def test_what_is_named_is_served_whatever_the_rollout_says() -> None:
    """It was somebody's wish."""
    assert SpecificVersions(frozenset({1, 9})).aspired([1, 2, 3], RECORD) == {1}
    assert AllVersions().aspired([1, 2, 3], RECORD) == {1, 2, 3}
