import subprocess
import sys


def run(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_the_first_import_prints_nothing() -> None:
    """TensorFlow is loaded without a line on standard error, which works again afterwards."""
    done = run(
        "import sys; from session_model.networks.tensorflow_import import import_tensorflow; import_tensorflow(); "
        "assert 'tensorflow' in sys.modules; print('still heard', file=sys.stderr)"
    )

    assert (done.returncode, done.stderr) == (0, "still heard\n")


def test_a_missing_tensorflow_is_told() -> None:
    """Where TensorFlow cannot be imported the error is raised and printed as ever."""
    done = run(
        "import sys; sys.modules['tensorflow'] = None; "
        "from session_model.networks.tensorflow_import import import_tensorflow; import_tensorflow()"
    )

    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr
