"""The exported SavedModel, run in process: what is evaluated is what is served."""

import math
from collections.abc import Callable, Sequence
from itertools import starmap
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.ranking import Candidates, IntentProbabilities, ModelInput, ModelOutput, SessionReading
from schemas.release_folder import ReleaseError
from schemas.servable import DEFAULT_SIGNATURE
from session_model.networks.tensorflow_import import import_tensorflow
from session_model.ranking.top_k import top_k
from session_model.release.release import Release

Search = Callable[[Sequence[SessionReading], Sequence[NDArray[np.int32]]], list[Candidates]]


class NextItemModel(Protocol):
    """What the evaluation needs of a model."""

    def rank(self, inputs: Sequence[ModelInput]) -> list[Candidates]:
        """Rank the next item of each input."""


class ExportedModel:
    """A SavedModel with the signature of a release (see session_model.networks.export); loading it imports TensorFlow.

    max_length: inputs are padded to it, so that one trace serves all. search: of what answers readings, by them and by
    the prefixes.
    """

    def __init__(self, directory: Path, max_length: int, search: Search | None = None) -> None:
        import_tensorflow()
        import tensorflow as tf  # noqa: PLC0415 - workers load this room and have no TensorFlow

        try:
            self._model: Any = tf.saved_model.load(str(directory))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ReleaseError(f"{directory} holds no SavedModel ({error}); copy the release again") from error
        self._recommend = self._model.signatures[DEFAULT_SIGNATURE]
        self._max_length = max_length
        self._search = search

    @classmethod
    def of(cls, release: Release) -> "ExportedModel":
        """Load the model of a release."""
        return cls(release.directory, release.manifest.max_length, release.search)

    def predict(self, inputs: Sequence[ModelInput]) -> list[ModelOutput]:
        """Answer each input, as the model server does, in one call."""
        outputs = self._outputs(inputs)
        intents = [_intent(row) for row in outputs["intent"].numpy().tolist()]
        return [ModelOutput(*one) for one in zip(self._candidates(outputs, inputs), intents, strict=True)]

    def rank(self, inputs: Sequence[ModelInput]) -> list[Candidates]:
        """Rank the next item of each input in one call."""
        return self._candidates(self._outputs(inputs), inputs)

    def _candidates(self, outputs: dict[str, Any], inputs: Sequence[ModelInput]) -> list[Candidates]:
        if "vectors" not in outputs:
            rows = zip(outputs["items"].numpy(), outputs["scores"].numpy(), strict=True)
            return [top_k(row_items, row_scores, len(row_items)) for row_items, row_scores in rows]  # ties as served
        if self._search is None:
            raise ReleaseError("this model is of a release that searches its catalogue; give the whole release")
        readings = zip(outputs["vectors"].numpy(), outputs["returns"].numpy(), strict=True)
        return self._search(list(starmap(SessionReading, readings)), [one.items for one in inputs])

    def _outputs(self, inputs: Sequence[ModelInput]) -> dict[str, Any]:
        items = np.zeros((len(inputs), self._max_length), np.int32)
        for row, model_input in zip(items, inputs, strict=True):
            row[: len(model_input.items)] = model_input.items
        length = np.array([len(model_input.items) for model_input in inputs], np.int32)
        features = np.stack([model_input.features for model_input in inputs])
        outputs: dict[str, Any] = self._recommend(**_tensors(items=items, length=length, features=features))
        return outputs


def _intent(row: list[float]) -> IntentProbabilities:
    return IntentProbabilities(*(None if math.isnan(probability) else probability for probability in row))


def _tensors(**arrays: Any) -> dict[str, Any]:
    import tensorflow as tf  # noqa: PLC0415 - see above

    return {name: tf.constant(array) for name, array in arrays.items()}
