import tensorflow as tf

from session_model.networks.next_item import with_returns


def test_returns_are_added_at_the_items_of_the_session() -> None:
    """An item that was seen twice gets both pulls, and a column below 0 none."""
    logits = with_returns(
        tf.zeros((2, 4)), tf.constant([[1.0, 2.0, 4.0], [8.0, 0.0, 0.0]]), tf.constant([[3, 0, 3], [1, -1, -1]])
    )
    assert logits.numpy().tolist() == [[2, 0, 0, 5], [0, 8, 0, 0]]
