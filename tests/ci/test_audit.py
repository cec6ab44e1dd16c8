import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "audit.py"
GOOD = {"name": "click", "version": "8.1", "vulns": []}
BAD = {"name": "old", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}

PIP_AUDIT = """
import json, pathlib, sys
said = json.loads({said!r})
if said is None:
    sys.exit("Failed to resolve 'api.osv.dev'")
pathlib.Path(sys.argv[sys.argv.index("--output") + 1]).write_text(json.dumps({{"dependencies": said}}))
sys.exit(1)
"""


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """Load the script."""
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("said", "options", "code", "line"),
    [
        ([GOOD], [], 0, "0 known vulnerabilities in 1 packages"),
        ([GOOD, BAD], [], 1, "old 1.0: PYSEC-1, mended in 1.1"),
        ([GOOD, {"name": "odd", "skip_reason": "unknown"}], [], 1, "odd: not looked at, unknown"),
        (None, [], 0, "not audited: Failed to resolve 'api.osv.dev'"),
        (None, ["--require"], 1, "not audited: Failed to resolve 'api.osv.dev'"),
    ],
    ids=["clean", "found", "skipped", "unreachable", "unreachable-and-required"],
)
def test_only_an_audit_that_was_made_passes_as_one(
    audit: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    said: Any,
    options: list[str],
    code: int,
    line: str,
) -> None:
    """A finding fails; an audit without an answer says that it was none, and fails where it is required."""
    (tmp_path / "pip_audit.py").write_text(PIP_AUDIT.format(said=json.dumps(said)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["audit", str(tmp_path / "all.txt"), *options])
    assert audit.main() == code
    assert line in capsys.readouterr().out
