import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemIndex

def places_of(items: NDArray[np.int32], wanted: list[ItemIndex]) -> list[int]: ...
def raised(
    items: NDArray[np.int32], scores: NDArray[np.float32], kept: list[ItemIndex], factor: float
) -> tuple[NDArray[np.int32], NDArray[np.float32]]: ...
