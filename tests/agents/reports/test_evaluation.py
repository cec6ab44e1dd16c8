import pytest

from agents.reports.evaluation import headline, interval_rows, markdown, metric_rows, page, slice_rows
from session_model.evaluation.comparison import Slice
from session_model.evaluation.intent import IntentEvaluation, PrefixIntent
from session_model.evaluation.ranking import Evaluation
from session_model.metrics.bootstrap import Interval

METRICS = {
    **{f"{name}_at_{k}": 0.25 for name in ("recall", "mrr", "ndcg") for k in (1, 5, 10, 20)},
    **{f"{name}_at_20": 0.5 for name in ("coverage", "gini", "novelty", "popularity_bias")},
}
RECALL_AND_MRR = {"recall_at_20": 0.25, "mrr_at_20": 0.125}


@pytest.fixture
def result() -> Evaluation:
    """Return a result of two models on a data set with a dangerous name."""
    models = ("blend", "knn")
    interval = {measure: Interval(0.25, 0.2, 0.3) for measure in RECALL_AND_MRR}
    return Evaluation(
        dataset="<script>.tsv",
        targets=1234,
        unseen="miss",
        models=dict.fromkeys(models, METRICS),
        sessions=321,
        intervals=dict.fromkeys(models, interval),
        differences={"knn": {measure: Interval(0.01, -0.002, 0.02) for measure in RECALL_AND_MRR}},
        slices={"position": {"2": Slice(1000, dict.fromkeys(models, RECALL_AND_MRR))}},
    )


def test_the_headline_says_what_unseen_items_count_as(result: Evaluation) -> None:
    """Figures of the two protocols are not comparable, so no output is without it."""
    assert headline(result) == "<script>.tsv: 1,234 targets in 321 sessions, unseen items count as misses"


def test_every_model_has_its_row_under_the_same_header(result: Evaluation) -> None:
    """Rows are as long as their header, in the order of the models."""
    for rows in (metric_rows(result), interval_rows(result), slice_rows(result, "position")):
        assert len({len(row) for row in rows}) == 1
    assert [row[0] for row in metric_rows(result)] == ["model", "blend", "knn"]
    assert interval_rows(result)[1][3:] == ["-", "-"]
    assert interval_rows(result)[2][3] == "+0.0100 [-0.0020, +0.0200]"
    assert slice_rows(result, "position")[1] == ["2", "1,000", "0.2500 / 0.1250", "0.2500 / 0.1250"]


def test_markdown_has_the_metrics_the_intervals_and_every_slice(result: Evaluation) -> None:
    """Each part has its table."""
    text = markdown(result)
    assert text.count("|---") >= 3
    assert "## Recall@20 / MRR@20 by position" in text
    assert "0.2500 [0.2000, 0.3000]" in text


def test_the_page_needs_nothing_else_and_escapes_names(result: Evaluation) -> None:
    """No script, no address to load from, plots inside."""
    text = page(result)
    assert "&lt;script&gt;.tsv" in text
    assert "<script" not in text
    assert text.count("<svg") == 1
    assert 'src="' not in text
    assert "<link" not in text


def test_intent_has_a_table_and_a_picture_where_it_was_measured(result: Evaluation) -> None:
    """An interval that does not hold its value, by the last digit, is drawn all the same; what is not there is said."""
    around = Interval(1 - 2**-53, 1.0, 1.0)
    measured = PrefixIntent(
        pr_auc=1.0,
        roc_auc=1.0,
        ece=0.02,
        ece_by_chance=0.03,
        base_rate=0.5,
        n=34,
        is_thin=False,
        intervals={"pr_auc": around, "roc_auc": around},
        logistic={"pr_auc": 0.9, "roc_auc": 0.9},
        minus_logistic={"pr_auc": around},
    )
    intent = IntentEvaluation(intent={"2": measured}, intent_leave={}, intent_cart={}, intent_overall={})
    written, shown = markdown(result, intent), page(result, intent)
    assert "| 2 | 34 | 0.500 | 1.000 [1.000, 1.000] |" in written
    assert "0.020 (chance 0.030) |" in written
    assert written.count("| P(") == shown.count("<th>P(") == 1
    assert "P(leave) after 1, 2, 3, 5, 10: not measured" in written
    assert shown.count("<svg") == 2
