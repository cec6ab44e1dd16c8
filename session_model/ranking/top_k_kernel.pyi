import numpy as np
from numpy.typing import NDArray

def best_of_rows(
    items: NDArray[np.int32], scores: NDArray[np.float32], starts: NDArray[np.int64], ends: NDArray[np.int64], k: int
) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]: ...
