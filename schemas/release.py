"""The manifest of a model release, `assets.extra/manifest.json` beside the SavedModel."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from schemas.ids import ModelVersion
from schemas.servable import ASSETS

MANIFEST_PATH = f"{ASSETS}/manifest.json"
RELEASE_FORMAT = 3


class ReleaseManifest(Struct, frozen=True, kw_only=True):
    """What a release is made of and from; enough to refuse a damaged or foreign one."""

    format: Annotated[int, Meta(description="Layout of the release; a reader refuses one it does not know.")]
    model: str
    version: ModelVersion
    created_at: datetime
    code_version: str
    training_data_sha256: str
    max_length: Annotated[int, Meta(ge=1, description="Most recent items that the model reads.")]
    candidate_count: Annotated[int, Meta(ge=1, description="Items that one Predict returns.")]
    feature_names: Annotated[
        list[str], Meta(description="Prefix features, in the order in which the model reads them.")
    ]
    input_event_types: Annotated[list[str], Meta(description="Event types whose items the model reads.")]
    has_intent: Annotated[bool, Meta(description="False where the training data had no times: no intent is told.")]
    metrics: dict[str, float]
    files: Annotated[dict[str, str], Meta(description="SHA-256, hex, by path relative to the version directory.")]
    sizes_bytes: Annotated[
        dict[str, Annotated[int, Meta(ge=0)]],
        Meta(description="Size of the same files. Empty in releases made before sizes were kept."),
    ] = {}
