from pathlib import Path

import numpy as np
import pytest

from session_model.checks.plain_lists import linear_list, untrained_list
from session_model.release.release import Release
from tests.builders.releases import release_parts, written_release


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Release the items 1 to 4 of the sessions 1 2 3 and 2 4."""
    return written_release(tmp_path_factory.mktemp("release"), release_parts("1234"))


def test_the_untrained_list_has_the_sessions_own_items_by_count(release: Release) -> None:
    """Of equal counts the latest first; then what stands beside the last clicks in other sessions."""
    ranked = untrained_list(release, np.array([1, 2, 1, 3], np.int32)).item_indices.tolist()
    assert ranked[:3] == [1, 3, 2]
    assert untrained_list(release, np.array([2], np.int32)).item_indices.tolist()[0] == 2
    assert len(untrained_list(release, np.zeros(0, np.int32))) == 0


def test_the_linear_list_adds_up_what_follows_each_click(release: Release) -> None:
    """2 is followed by 3 and 4 alike, 1 by 2 and less by 3: the sum, the older click's being less."""
    ranked = linear_list(release, np.array([1, 2], np.int32))
    assert ranked.item_indices.tolist()[0] == 3
    assert set(ranked.item_indices.tolist()) == {2, 3, 4}
    assert len(linear_list(release, np.zeros(0, np.int32))) == 0


def test_lists_are_no_longer_than_the_releases_own(release: Release, tmp_path: Path) -> None:
    """They are held against it."""
    short = written_release(tmp_path, release.parts, candidate_count=2)
    for plain in (linear_list, untrained_list):
        assert len(plain(short, np.array([1, 2], np.int32))) == 2
