import random
from pathlib import Path

import numpy as np
import pytest

from session_model.data import training_overlap
from session_model.data.formats import DataFormat, read_sessions
from session_model.data.sessions import Sessions
from session_model.data.training_overlap import Overlap, TrainedSessions

VIEWS = ("view",)
START = 1_600_000_000


def log(path: Path, seed: int, n: int, data_format: DataFormat, *, first: int = 0, n_items: int = 500) -> Sessions:
    """Make sessions of 3 to 6 random items, a minute apart, called from `first` on."""
    chance = random.Random(seed)
    lines = []
    for session in range(first, first + n):
        items = [chance.randrange(n_items) for _ in range(chance.randint(3, 6))]
        if data_format == "sequences":
            lines.append(" ".join(map(str, items)))
        else:
            lines += [f"{session}\t{item}\t{START + session * 60 + place}" for place, item in enumerate(items)]
    header = "" if data_format == "sequences" else "SessionId\tItemId\tTime\n"
    path.write_text(header + "\n".join(lines) + "\n")
    return read_sessions(path, data_format)


def overlap(trained: Sessions, test: Sessions) -> Overlap:
    """Compare."""
    found = TrainedSessions.fit(trained, VIEWS).overlap(test, VIEWS)
    assert found is not None
    return found


@pytest.mark.parametrize("data_format", ["sequences", "session-rec"])
def test_a_test_that_was_trained_on_is_suspect_and_another_is_not(tmp_path: Path, data_format: DataFormat) -> None:
    """With times and without."""
    trained = log(tmp_path / "a", 1, 400, data_format)
    assert overlap(trained, trained).share == 1
    assert overlap(trained, trained).is_suspect
    other = overlap(trained, log(tmp_path / "b", 2, 400, data_format, first=400))
    assert (other.share, other.is_suspect) == (0, False)


def test_a_part_of_the_training_data_among_new_sessions_is_found(tmp_path: Path) -> None:
    """One test session in ten was trained on; it is called otherwise."""
    trained = log(tmp_path / "a", 1, 400, "session-rec")
    log(tmp_path / "b", 2, 360, "session-rec", first=1000)
    some = [line for line in (tmp_path / "a").read_text().splitlines()[1:] if int(line.split("\t")[0]) < 40]
    (tmp_path / "c").write_text((tmp_path / "b").read_text() + "\n".join(f"again-{line}" for line in some) + "\n")
    found = overlap(trained, read_sessions(tmp_path / "c", "session-rec"))
    assert (found.identity, found.compared) == ("items_and_times", 400)
    assert found.share == pytest.approx(0.1)
    assert found.is_suspect


def test_what_many_do_is_no_overlap(tmp_path: Path) -> None:
    """In a shop of three items sessions repeat by chance; the training itself says how often."""
    trained = log(tmp_path / "a", 1, 2000, "sequences", n_items=3)
    found = overlap(trained, log(tmp_path / "b", 2, 500, "sequences", n_items=3))
    assert found.share > 0.7
    assert found.expected == pytest.approx(found.share, abs=0.1)
    assert not found.is_suspect


def test_shifted_times_do_not_hide_it(tmp_path: Path) -> None:
    """The items alone are compared, too."""
    trained = log(tmp_path / "a", 1, 400, "session-rec")
    shifted = log(tmp_path / "b", 1, 400, "session-rec", first=60)
    assert overlap(trained, shifted).identity == "items"
    assert overlap(trained, shifted).is_suspect


def test_of_many_sessions_a_sketch_estimates_the_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bounded number of hashes is kept, and as large a part of the test is compared."""
    monkeypatch.setattr(training_overlap, "MAX_SESSIONS", 500)
    trained = log(tmp_path / "a", 1, 4000, "session-rec")
    half = read_sessions(tmp_path / "a", "session-rec")
    new = log(tmp_path / "b", 2, 4000, "session-rec", first=10_000)
    sketch = TrainedSessions.fit(trained, VIEWS)
    found, other = sketch.overlap(half, VIEWS), sketch.overlap(new, VIEWS)
    assert found is not None
    assert other is not None
    assert (found.share, other.share) == (1, 0)
    assert 400 < found.compared < 600
    assert 400 < other.compared < 600


def test_too_few_sessions_and_short_ones_are_not_compared(tmp_path: Path) -> None:
    """A handful repeats by chance."""
    trained = log(tmp_path / "a", 1, 400, "sequences")
    sketch = TrainedSessions.fit(trained, VIEWS)
    assert sketch.overlap(log(tmp_path / "b", 1, 4, "sequences"), VIEWS) is None
    (tmp_path / "c").write_text("1 2\n" * 50)
    assert sketch.overlap(read_sessions(tmp_path / "c", "sequences"), VIEWS) is None
    assert sketch.overlap(trained, ("purchase",)) is None


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    """And the same training writes the same bytes."""
    trained = TrainedSessions.fit(log(tmp_path / "a", 1, 400, "session-rec"), VIEWS)
    for name in ("one.npz", "two.npz"):
        trained.save(tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    read = TrainedSessions.load(tmp_path / "one.npz")
    assert read.by_identity.keys() == trained.by_identity.keys()
    for name, one in read.by_identity.items():
        other = trained.by_identity[name]
        assert (one.bound, one.expected) == (other.bound, other.expected)
        np.testing.assert_array_equal(one.kept, other.kept)
