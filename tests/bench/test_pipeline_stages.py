from collections import Counter
from pathlib import Path

import pytest

from bench.pipeline_stages import counted_bytes, viewed
from schemas.release_folder import ReleaseError
from session_model.release.files import look_at_parts, read_release
from tests.builders.releases import write_release


def test_sessions_of_many_products_view_each_twice() -> None:
    """So a release of them has all of them."""
    sessions = viewed(1_000)
    views = Counter(item for session in sessions for item in session)
    assert (len(views), set(views.values()), len(sessions)) == (1_000, {2}, 400)


def test_what_is_counted_of_a_release_is_what_a_worker_counts(tmp_path: Path) -> None:
    """With a byte less it refuses."""
    release = write_release(tmp_path)
    manifest, counted = look_at_parts(release, None).manifest, counted_bytes(release)
    read_release(release, manifest, directory=release, max_memory_bytes=counted)
    with pytest.raises(ReleaseError, match=r"serving\.release_max_memory_bytes"):
        read_release(release, manifest, directory=release, max_memory_bytes=counted - 1)
