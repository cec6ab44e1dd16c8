from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

class Kernel:
    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        weights: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
        neighbours: int,
    ) -> None: ...
    def votes(
        self, prefix: NDArray[np.int64], match_weights: NDArray[np.float64], anchor_weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int32]]: ...
