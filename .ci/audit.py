# ruff: noqa: INP001, T201 - a script beside the package, which prints
"""Ask for known vulnerabilities of what a lock file names, by pip-audit and OSV.

    python .ci/audit.py requirements/all.txt

A finding fails. An audit that could not be made is not a passed one: it prints `not audited:` and why, and fails only
with `--require`, so that a build without a network goes on.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_PATIENCE_SECONDS = 300.0


def main() -> int:
    """Audit; give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("requirements", type=Path)
    parser.add_argument("--require", action="store_true", help="fail where the audit cannot be made")
    options = parser.parse_args()
    report, why_not = ask(options.requirements)
    if report is None:
        print(f"not audited: {why_not}")
        return int(options.require)
    found = findings(report)
    for line in found:
        print(line)
    n_packages = len(report["dependencies"])
    print(f"{len(found)} known vulnerabilities in {n_packages} packages of {options.requirements}")
    return int(bool(found))


def ask(requirements: Path) -> tuple[Any, str]:
    """Give pip-audit's report; None and the last thing that it said where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        options = ["--require-hashes", "--disable-pip", "--vulnerability-service", "osv", "--progress-spinner", "off"]
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements), *options]
        try:
            run = subprocess.run(  # noqa: S603 - our own words
                [*command, "--format", "json", "--output", str(file)],
                capture_output=True,
                text=True,
                check=False,
                timeout=_PATIENCE_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return None, f"OSV took more than {_PATIENCE_SECONDS:.0f} s"
        if file.exists():
            return json.loads(file.read_text()), ""
        return None, (run.stderr.strip().splitlines() or [f"pip-audit ended with {run.returncode}"])[-1]


def findings(report: Any) -> list[str]:
    """Name each vulnerability, and what was left out: nothing is passed in silence."""
    return [
        f"{package['name']} {package.get('version', '')}: "
        f"{vulnerability['id']}, mended in {', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for package in report["dependencies"]
        for vulnerability in package.get("vulns", ())
    ] + [
        f"{package['name']}: not looked at, {package['skip_reason']}"
        for package in report["dependencies"]
        if "skip_reason" in package
    ]


if __name__ == "__main__":
    sys.exit(main())
