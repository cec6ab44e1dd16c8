"""The manifest of a model release, `assets.extra/manifest.json` beside the SavedModel."""

from typing import Annotated

from msgspec import Meta, Struct

from schemas.events import Instant
from schemas.ids import ModelVersion
from schemas.servable import ASSETS

MANIFEST_PATH = f"{ASSETS}/manifest.json"
RELEASE_FORMAT = 3


class ReadPartition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was read of one partition: the offsets from `first` up to and without `stop`."""

    first: Annotated[int, Meta(ge=0)]
    stop: Annotated[int, Meta(ge=0)]
    records: Annotated[int, Meta(ge=0, description="Usable ones: fewer than offsets, where some are markers.")] = 0
    newest_ms: Annotated[int | None, Meta(description="The latest end of a session among them, Unix ms.")] = None


class TrainingSource(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the training data came from, if it was no file of the machine."""

    url: str
    read_at: Instant
    watermark: Annotated[
        Instant | None,
        Meta(description="The earliest, over the partitions, of their latest session ends: later ones may be missing."),
    ] = None
    partitions: Annotated[dict[int, ReadPartition], Meta(description="Of a topic, by number.")] = {}
    malformed: Annotated[int, Meta(ge=0, description="Records of a topic that were left out.")] = 0


class ReleaseManifest(Struct, frozen=True, kw_only=True):
    """What a release is made of and from; enough to refuse a damaged or foreign one."""

    format: Annotated[int, Meta(description="Layout of the release; a reader refuses one it does not know.")]
    model: str
    version: ModelVersion
    created_at: Instant
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
    training_source: Annotated[
        TrainingSource | None, Meta(description="Absent where the training data were files of the machine.")
    ] = None
    training_data_until: Annotated[
        Instant | None,
        Meta(description="Time of the latest event of the training data; absent where they had no times."),
    ] = None
