import numpy as np
from numpy.typing import NDArray

def join(
    model_items: NDArray[np.int32],
    model_scores: NDArray[np.float32],
    neighbour_items: NDArray[np.int32],
    neighbour_scores: NDArray[np.float32],
    content_items: NDArray[np.int32],
    content_scores: NDArray[np.float32],
    prefix: NDArray[np.int32],
    items: NDArray[np.int32],
    columns: NDArray[np.float64],
    start: int,
) -> int: ...
def describe(
    columns: NDArray[np.float64],
    items: NDArray[np.int32],
    lengths: NDArray[np.int64],
    prefix_lengths: NDArray[np.int64],
    log_counts: NDArray[np.float64],
    trends: NDArray[np.float64],
    shares: tuple[float, float, float, float],
    described: NDArray[np.float32],
) -> None: ...
