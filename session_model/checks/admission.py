"""Whether the checks of a release let shoppers have it."""

from typing import Final

from schemas.check_report import CheckReport
from schemas.ids import ModelVersion

MUST_RUN: Final = ("hold_out", "baselines", "size", "leak")
"""What needs nothing but the release and sessions of after its training."""


def objection(report: CheckReport | None, version: ModelVersion, champion: ModelVersion | None) -> str | None:
    """Return in words why a release must not be shown to anybody; None = it may.

    report: of its last check; None = there was none. champion: what serves, which it must have been held against.
    """
    if report is None:
        return f"version {version} was not checked; run `insession release check`"
    if report.failed:
        told = "; ".join(f"{name}: {result.reason}" for name, result in report.failed.items())
        return f"version {version} fails its checks: {told}"
    missed = [name for name in MUST_RUN if name not in report.checks or report.checks[name].passed is None]
    if missed:
        return (
            f"version {version} was not checked by {', '.join(missed)}; give `insession release check` what it asks for"
        )
    if champion is not None and champion not in {version, report.against}:
        return (
            f"version {version} was not held against version {champion}, which is the champion; run `insession "
            "release check` with it as --against"
        )
    return None
