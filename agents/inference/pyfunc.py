"""A registered release as MLflow loads it: `mlflow.pyfunc.load_model("models:/session_gru@champion")`.

It reads rows of `items`, those of a session that the model reads (views, unless it was trained on others), oldest
first, and maybe `bought`, items not to be recommended again. It gives each row the items and scores of `insession
infer`, best first, by the settings of the environment (INSESSION_SERVING__ANSWER_SIZE and others), without a catalog.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from agents.inference.local_recommender import LocalRecommender, request_of
from agents.settings import load_settings
from schemas.events import EventType
from schemas.records import SessionEvent

if TYPE_CHECKING:
    import pandas as pd


class PyfuncModel:
    """What MLflow asks."""

    def __init__(self, directory: Path) -> None:
        self._recommender = LocalRecommender(directory, load_settings())

    def predict(self, rows: "pd.DataFrame | Mapping[str, Any]") -> "pd.DataFrame":
        """Recommend to each row; a row without known items gets what is popular."""
        import pandas as pd  # noqa: PLC0415 - an extra

        read_type = cast("EventType", self._recommender.manifest.input_event_types[0])
        boughts = rows["bought"] if "bought" in rows else [()] * len(rows["items"])
        requests = [
            request_of(
                [SessionEvent(read_type, 0, item) for item in items], None, () if bought is None else tuple(bought)
            )
            for items, bought in zip(rows["items"], boughts, strict=True)
        ]
        answers = self._recommender.answer_many(requests)
        return pd.DataFrame(
            {
                "items": [[item.item_id for item in answer.items] for answer in answers],
                "scores": [[item.score for item in answer.items] for answer in answers],
            }
        )


def _load_pyfunc(path: str) -> PyfuncModel:  # the name that MLflow looks for
    return PyfuncModel(Path(path))
