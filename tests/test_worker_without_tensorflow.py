import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

WITHOUT_TENSORFLOW = """
import sys
from importlib.abc import MetaPathFinder

HEAVY = {"tensorflow", "keras", "tensorflow_serving", "sklearn"}

class Refusing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refusing())
"""
NONE_LOADED = """
loaded = sorted(name for name in sys.modules if name.partition(".")[0] in HEAVY)
assert not loaded, loaded
"""
BUILD = """
from agents.settings import load_settings
from agents.worker.root import build_worker
app = build_worker(load_settings({"kafka": {"datadir": sys.argv[1]}}, environment={}))
app.finalize()
assert "sessions" in app.agents
"""
REPLAY = """
import agents.replay
import agents.commands.replay
"""
HELP = """
from agents.cli import insession
insession(["worker", "--help"], standalone_mode=False)
insession(["--help"], standalone_mode=False)
"""


def run(program: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program in an environment that lacks TensorFlow."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW + program + NONE_LOADED, folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("program", [BUILD, REPLAY, HELP], ids=["worker", "replay", "help"])
def test_it_works_without_tensorflow(program: str, tmp_path: Path) -> None:
    """A worker is built, replay is imported and help is shown where TensorFlow cannot be imported; none is loaded."""
    ended = run(program, tmp_path)
    assert ended.returncode == 0, ended.stderr


def test_the_environment_really_lacks_it(tmp_path: Path) -> None:
    """The finder refuses what the other tests say is not needed."""
    assert "No module named 'tensorflow'" in run("import tensorflow", tmp_path).stderr
