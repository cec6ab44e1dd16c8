import numpy as np
from numpy.typing import NDArray

def scored(
    vectors: NDArray[np.float32],
    sessions: NDArray[np.float32],
    found: NDArray[np.int64],
    own: NDArray[np.int32],
    returns: NDArray[np.float32],
) -> tuple[NDArray[np.int32], NDArray[np.float32]]: ...
