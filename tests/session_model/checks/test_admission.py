"""Whether the report of its checks lets shoppers have a release."""

import pytest

from schemas.check_report import CheckReport
from schemas.ids import ModelVersion
from session_model.checks.admission import objection
from tests.builders.check_reports import report_on

CANDIDATE, CHAMPION = ModelVersion(8), ModelVersion(7)


def report(against: ModelVersion | None = CHAMPION, **results: bool | None) -> CheckReport:
    """Report on the candidate."""
    return report_on(CANDIDATE, against, **results)


@pytest.mark.parametrize(
    ("found", "champion", "told"),
    [
        (report(), CHAMPION, None),
        (report(latency=None), CHAMPION, None),
        (report(against=None), None, None),
        (None, CHAMPION, "was not checked; run"),
        (report(latency=False), CHAMPION, "fails its checks: latency: because of latency"),
        (report(leak=None), CHAMPION, "was not checked by leak"),
        (report(against=None), CHAMPION, "not held against version 7, which is the champion"),
        (report(against=ModelVersion(6)), CHAMPION, "not held against version 7"),
    ],
    ids=["passed", "one has no input", "the first", "none", "failed", "not run", "no champion", "another champion"],
)
def test_a_report_lets_a_release_pass_or_says_why_not(
    found: CheckReport | None, champion: ModelVersion | None, told: str | None
) -> None:
    """What fails, what was not run, and what it was not held against."""
    why = objection(found, CANDIDATE, champion)
    assert why is None if told is None else why is not None and told in why
