from prometheus_client import CollectorRegistry, generate_latest

from serving.errors import REASONS
from serving.metrics import ServingMetrics


def test_every_tier_and_reason_is_there_from_the_start() -> None:
    """A series that has not happened yet is 0, not absent: alerts on rates need that."""
    registry = CollectorRegistry()
    ServingMetrics(registry)
    exposed = generate_latest(registry).decode()
    for reason in REASONS:
        assert f'insession_answers_total{{reason="{reason}",tier="popular"}} 0.0' in exposed
    assert "insession_breaker_open 0.0" in exposed


def test_labels_are_bounded() -> None:
    """Answers have one series a tier and reason and no more."""
    registry = CollectorRegistry()
    ServingMetrics(registry)
    series = [
        line for line in generate_latest(registry).decode().splitlines() if line.startswith("insession_answers_total")
    ]
    assert len(series) == 5 * (len(REASONS) + 1)
