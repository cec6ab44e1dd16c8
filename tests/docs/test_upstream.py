"""What docs/upstream.md says is worked around is worked around where it says."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = [line.split("|")[1:-1] for line in (ROOT / "docs/upstream.md").read_text().splitlines() if line.startswith("| ")]


def test_every_place_of_a_workaround_is_there() -> None:
    """A file that was moved or deleted takes its row along."""
    places = {place for *_, where, _ in ROWS for place in re.findall(r"`([^`]+\.\w+)`", where)}
    assert len(places) > 8
    assert [place for place in places if not (ROOT / place).is_file()] == []


def test_every_thread_is_a_link() -> None:
    """Nobody has to guess of which project a number is."""
    threads = [thread for *_, thread in ROWS]
    assert sum("https://" in thread for thread in threads) > 6
    assert [thread for thread in threads if re.search(r"#\d", re.sub(r"\[[^]]*\]\([^)]*\)", "", thread))] == []
