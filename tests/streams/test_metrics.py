import pytest
from prometheus_client import CollectorRegistry

from streams.metrics import OutcomeMetrics


@pytest.mark.parametrize(
    ("position", "band", "reciprocal_rank"),
    [
        (1, "1", 1.0),
        (2, "2-5", 0.5),
        (5, "2-5", 0.2),
        (6, "6-10", 1 / 6),
        (10, "6-10", 0.1),
        (11, "11-20", 1 / 11),
        (20, "11-20", 0.05),
        (21, "21+", 1 / 21),
        (None, "none", 0.0),
    ],
)
def test_outcomes_are_counted_by_band_of_position(position: int | None, band: str, reciprocal_rank: float) -> None:
    """Each place falls into one band, and its reciprocal is summed up; an item that was not shown adds nothing."""
    registry = CollectorRegistry()
    OutcomeMetrics(registry).observe("cart", "knn", position)
    counted = {
        sample.labels["position"]
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "insession_outcomes_total" and sample.value
    }
    labels = {"action": "cart", "tier": "knn"}
    assert counted == {band}
    assert registry.get_sample_value("insession_outcomes_total", {**labels, "position": band}) == 1
    assert registry.get_sample_value("insession_outcome_reciprocal_rank_total", labels) == reciprocal_rank


def test_every_outcome_series_is_there_from_the_start() -> None:
    """A rate over a series that has not begun would be nothing instead of 0."""
    registry = CollectorRegistry()
    OutcomeMetrics(registry)
    names = [sample.name for metric in registry.collect() for sample in metric.samples]
    assert names.count("insession_outcomes_total") == 3 * 4 * 6
    assert names.count("insession_outcome_reciprocal_rank_total") == 3 * 4
