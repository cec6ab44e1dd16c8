import pytest
import tensorflow as tf

from session_model.distributed.failures import OthersLostError, translated


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.UnavailableError(None, None, "Socket closed"),
        tf.errors.AbortedError(None, None, "Collective ops is aborted by: ... Restart your program to reset."),
        tf.errors.InternalError(None, None, "Task /job:worker/task:1 heartbeat timeout"),
    ],
    ids=["unavailable", "aborted", "by its words"],
)
def test_a_lost_worker_is_told_in_words(error: tf.errors.OpError) -> None:
    """Which error comes depends on who notices first."""
    with pytest.raises(OthersLostError, match="lost the connection to another worker"), translated():
        raise error


def test_waiting_in_vain_is_told_with_its_time() -> None:
    """All are there and one is stuck."""
    with pytest.raises(OthersLostError, match="waited 120 s"), translated():
        raise tf.errors.DeadlineExceededError(None, None, "Collective has timed out")


def test_a_port_that_was_taken_is_worth_another_start() -> None:
    """It was free when the workers were told theirs."""
    with pytest.raises(OthersLostError, match="cannot listen at its port"), translated():
        raise tf.errors.UnknownError(None, None, "Could not start gRPC server")


def test_an_error_of_another_kind_stays_what_it_is() -> None:
    """A restart would not mend it."""
    with pytest.raises(tf.errors.ResourceExhaustedError), translated():
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
