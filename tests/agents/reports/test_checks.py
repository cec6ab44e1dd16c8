from datetime import UTC, datetime

import pytest
from msgspec import structs

from agents.reports.checks import badly_served, headline, markdown, page, summary_rows
from schemas.check_report import AnswerProfile, CheckReport, CheckResult, CheckSlice, CheckThresholds
from schemas.ids import ModelVersion

SERVED = {f"{who}.{measure}_at_20": 0.25 for who in ("candidate", "linear") for measure in ("recall", "mrr")}


@pytest.fixture
def report() -> CheckReport:
    """Return a report with a check of each result, and a category with a dangerous name."""
    slices = [
        CheckSlice(kind="session length", part="2", targets=1200, figures=SERVED, verdict="lost"),
        CheckSlice(kind="session length", part="3", targets=900, figures=SERVED, verdict="good"),
        CheckSlice(kind="category", part="<b>|x", targets=300, figures=SERVED, verdict="weak"),
        CheckSlice(kind="hour", part="00-06 h", targets=3, figures=SERVED, verdict="few"),
    ]
    places = CheckSlice(kind="category", part="hats", targets=300, figures={"places_share": 0.5}, verdict="good")
    return CheckReport(
        version=ModelVersion(8),
        against=ModelVersion(7),
        made_at=datetime(2026, 2, 1, 12, tzinfo=UTC),
        data_sha256="0" * 64,
        thresholds=CheckThresholds(),
        checks={
            "hold_out": CheckResult(True, "recall@20 0.25", {"recall_at_20": 0.25}),
            "latency": CheckResult(None, "no champion"),
            "baselines": CheckResult(False, "the linear list is better", {}, slices),
            "guardrails": CheckResult(True, "fine", {}, [places]),
        },
        profile=AnswerProfile(answers=1, personal_share=1.0, item_shares={}, score_shares=[1.0]),
    )


def test_what_failed_comes_first(report: CheckReport) -> None:
    """Then what was not run, which is no pass."""
    assert [row[:2] for row in summary_rows(report)[1:]] == [
        ["baselines", "FAILED"],
        ["latency", "not run"],
        ["hold_out", "passed"],
        ["guardrails", "passed"],
    ]
    assert headline(report) == "Version 8, against version 7, 2026-02-01 12:00 UTC: fails baselines"


def test_every_form_names_what_the_release_cannot_serve_well(report: CheckReport) -> None:
    """Slices that are lost or weak, not those of few clicks."""
    named = ["session length 2, 1,200 clicks: lost", "category <b>|x, 300 clicks: weak"]
    assert badly_served(report) == named
    assert all(f"- {one}" in markdown(report) for one in named)
    assert f"<li>{named[0]}</li>" in page(report)


def test_a_release_that_knows_no_item_of_the_day_serves_nobody_well(report: CheckReport) -> None:
    """No slice is far below the whole then; so the whole is named, and why."""
    hold_out = CheckResult(False, "recall_at_20 is 0", {"unknown_share": 0.987})
    lost = structs.replace(report, checks={"hold_out": hold_out})
    assert badly_served(lost) == ["all clicks: hold_out fails", "items that it does not know: 99% of the clicks"]


def test_the_page_needs_nothing_else_and_escapes_names(report: CheckReport) -> None:
    """A picture for each kind of slice that is ranked; a bar in a name makes no column of Markdown."""
    text = page(report)
    assert text.count("<svg") == 3
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert 'src="' not in text
    assert "| <b>\\|x | 300 | 0.2500 / 0.2500 | 0.2500 / 0.2500 | weak |" in markdown(report)
    assert "| hats | 300 | 0.5000 |  |" in markdown(report)
