import pytest
from prometheus_client import CollectorRegistry

from agents.clicks.intent_calibration import MAX_SESSIONS, MAX_SIGNALS, IntentCalibration
from schemas.ids import SessionId, VisitorId
from streams.metrics import IntentMetrics

ANN = VisitorId("ann")
SESSION = SessionId("s1")


class Books:
    """A calibration, and what it has counted."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calibration = IntentCalibration(IntentMetrics(self.registry))

    def counted(self, up_to: str) -> tuple[float, float, float]:
        """Return the signals, the expected and the observed purchases of a band."""
        signals, expected, purchases = (
            self.registry.get_sample_value(f"insession_intent_{name}_total", {"up_to": up_to}) or 0.0
            for name in ("signals", "expected_purchases", "purchases")
        )
        return signals, expected, purchases


@pytest.fixture
def books() -> Books:
    """Make a calibration that has counted nothing."""
    return Books()


def test_a_purchase_counts_for_the_signals_before_it(books: Books) -> None:
    """Every signal before the purchase was right, the one after it was not; all are counted at the session's end."""
    for probability in (0.3, 0.35):
        books.calibration.predicted(ANN, SESSION, probability)
    books.calibration.purchased(ANN, SESSION)
    books.calibration.predicted(ANN, SESSION, 0.25)
    assert books.counted("0.4") == (0, 0, 0)
    books.calibration.ended(ANN, SESSION)
    assert books.counted("0.4") == (3, pytest.approx(0.9), 2)


def test_a_purchase_of_another_session_is_none_of_this_one(books: Books) -> None:
    """A purchase counts for its own session only, and may come before any signal."""
    books.calibration.purchased(ANN, SESSION)
    books.calibration.predicted(ANN, SESSION, 0.3)
    books.calibration.purchased(ANN, SessionId("s2"))
    books.calibration.ended(ANN, SESSION)
    assert books.counted("0.4") == (1, pytest.approx(0.3), 0)


def test_the_end_of_another_session_settles_nothing(books: Books) -> None:
    """The same visitor's next session, or another visitor's, is another one; an end that comes twice counts once."""
    books.calibration.predicted(ANN, SESSION, 0.01)
    books.calibration.ended(ANN, SessionId("s2"))
    books.calibration.ended(VisitorId("bob"), SESSION)
    assert books.counted("0.02") == (0, 0, 0)
    books.calibration.ended(ANN, SESSION)
    books.calibration.ended(ANN, SESSION)
    assert books.counted("0.02") == (1, pytest.approx(0.01), 0)


@pytest.mark.parametrize(
    ("probability", "up_to"), [(0.0, "0.02"), (0.02, "0.02"), (0.0201, "0.05"), (0.4, "0.4"), (0.41, "1"), (1.0, "1")]
)
def test_a_band_includes_its_upper_end(books: Books, probability: float, up_to: str) -> None:
    """The label names the largest probability of the band."""
    books.calibration.predicted(ANN, SESSION, probability)
    books.calibration.ended(ANN, SESSION)
    assert books.counted(up_to)[0] == 1


def test_memory_is_bounded(books: Books) -> None:
    """Beyond the bounds a session's later signals, and the session that was quiet longest, are not counted."""
    for _ in range(MAX_SIGNALS + 5):
        books.calibration.predicted(ANN, SESSION, 0.5)
    books.calibration.predicted(VisitorId("bob"), SESSION, 0.5)
    for number in range(MAX_SESSIONS - 2):
        books.calibration.predicted(VisitorId(f"v{number}"), SESSION, 0.5)
    books.calibration.predicted(ANN, SESSION, 0.5)
    books.calibration.predicted(VisitorId("one too many"), SESSION, 0.5)
    books.calibration.ended(VisitorId("bob"), SESSION)
    assert books.counted("1")[0] == 0
    books.calibration.ended(ANN, SESSION)
    assert books.counted("1")[0] == MAX_SIGNALS
