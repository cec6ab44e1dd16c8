from pathlib import Path

import numpy as np
import pytest

from session_model.runs.checkpoints import Checkpoint, CheckpointFile, fingerprint

STATE = {"step": 3, "rng": {"state": 2**127 + 1}}
ARRAYS = {"weights": [np.arange(6, dtype=np.float32).reshape(2, 3), np.float32(2.5)], "other": [np.zeros((0, 4))]}


@pytest.fixture
def file(tmp_path: Path) -> CheckpointFile:
    """Save a checkpoint."""
    file = CheckpointFile(tmp_path, "a" * 64)
    file.save(Checkpoint(STATE, ARRAYS))  # type: ignore[arg-type]
    return file


def test_a_checkpoint_comes_back_as_it_was(file: CheckpointFile) -> None:
    """Arrays keep order, shape, type and bits, integers their size; no temporary file is left."""
    checkpoint, trouble = file.load()
    assert trouble is None
    assert checkpoint is not None
    assert checkpoint.state | STATE == checkpoint.state
    for name, arrays in ARRAYS.items():
        for one, other in zip(checkpoint.arrays[name], arrays, strict=True):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            assert np.array_equal(one, other)
    assert list(file.folder.iterdir()) == [file.path]


def test_none_is_no_trouble(tmp_path: Path) -> None:
    """Where nothing was saved there is nothing to tell."""
    assert CheckpointFile(tmp_path, "a" * 64).load() == (None, None)


@pytest.mark.parametrize("place", [0, 200, -1], ids=["cut to nothing", "cut", "one bit"])
def test_damage_is_told(file: CheckpointFile, place: int) -> None:
    """A cut file and a flipped bit of an array are noticed; the file is named."""
    content = bytearray(file.path.read_bytes())
    if place < 0:
        content[content.index(np.float32(5).tobytes())] ^= 1
    else:
        content = content[:place]
    file.path.write_bytes(content)
    checkpoint, trouble = file.load()
    assert checkpoint is None
    assert trouble is not None
    assert "cannot be read" in trouble
    assert str(file.path) in trouble


def test_the_checkpoint_of_another_training_is_told(file: CheckpointFile, tmp_path: Path) -> None:
    """A renamed file does not pass for another training."""
    other = CheckpointFile(tmp_path, "b" * 64)
    file.path.rename(other.path)
    assert other.load() == (None, f"checkpoint {other.path} is of another training")


def test_the_fingerprint_sees_settings_values_shapes_and_types() -> None:
    """Each of them makes another one; equal ones are equal."""
    values = np.arange(4, dtype=np.int32)
    same = fingerprint([1, "a"], [values])
    assert fingerprint([1, "a"], [values.copy()]) == same
    others = [
        fingerprint([2, "a"], [values]),
        fingerprint([1, "a"], [values + 1]),
        fingerprint([1, "a"], [values.reshape(2, 2)]),
        fingerprint([1, "a"], [values.view(np.float32)]),
    ]
    assert len({same, *others}) == 5
