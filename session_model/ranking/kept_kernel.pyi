from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

def places_of(items: NDArray[np.int32], wanted: Sequence[int]) -> list[int]: ...
def raised(
    items: NDArray[np.int32], scores: NDArray[np.float32], kept: Sequence[int], factor: float
) -> tuple[NDArray[np.int32], NDArray[np.float32]]: ...
