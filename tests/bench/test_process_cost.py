import subprocess
import sys
from pathlib import Path

import pytest

from bench.commands import ROOT

MEASURE = """
import sys
from pathlib import Path
from bench.process_cost import measured
cost, printed = measured([sys.executable, "-c", sys.argv[1]], log=Path(sys.argv[2]))
print(cost.cpu_seconds, cost.peak_bytes, printed.decode())
"""
"""In a process of its own: it waits for all children that it has."""
CHILD = """
import subprocess, sys
child = "import time; held = b'x' * (200 << 20)\\nwhile time.process_time() < 1.0: pass\\ntime.sleep(0.5)"
"""
PROGRAMS = {
    "is left behind": CHILD + "subprocess.Popen([sys.executable, '-c', child], stdout=subprocess.DEVNULL)",
    "is not waited for": f"import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN){CHILD}"
    "subprocess.run([sys.executable, '-c', child])",
}
"""As Spark's driver treats its JVM, and Spark's daemon its Python workers."""


def measure(program: str, log: Path) -> subprocess.CompletedProcess[str]:
    """Measure a program of Python."""
    command = [sys.executable, "-c", MEASURE, program, str(log)]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_child_counts_that_its_parent_does_not_wait_for(program: str, tmp_path: Path) -> None:
    """Its processor time and its memory."""
    cpu_seconds, peak_bytes, printed = measure(f"{program}; print('done')", tmp_path / "log").stdout.split()
    assert printed == "done"
    assert 1.0 <= float(cpu_seconds) < 10.0
    assert int(peak_bytes) >= 200 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_command_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    """No figure comes of it."""
    run = measure("import sys; sys.exit('no room left')", tmp_path / "log")
    assert run.returncode == 1
    assert "ended with exit code 1:\nno room left" in run.stderr
