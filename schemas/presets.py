"""Field mappings by the name of who writes the records; docs/mapping.md says what is read of each, and what is not."""

from collections.abc import Mapping
from typing import Final

from msgspec import structs

from schemas.mapping import FieldMapping, Format

PRESETS: Final[Mapping[Format, FieldMapping]] = {
    "insession": FieldMapping(),
}


def complete(mapping: FieldMapping) -> FieldMapping:
    """Put what a mapping states over its format's preset."""
    preset = PRESETS[mapping.format]
    return structs.replace(
        mapping,
        events=mapping.events or preset.events,
        paths=preset.paths | mapping.paths,
        constants=preset.constants | mapping.constants,
        values={
            name: {**mapping.values.get(name, {}), **_unless(mapping.values.get(name, {}), preset.values.get(name, {}))}
            for name in preset.values.keys() | mapping.values.keys()
        },
        time_format=mapping.time_format or preset.time_format,
        rules=mapping.rules + preset.rules,
    )


def _unless(stated: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Leave out of a preset's values what is stated: its patterns come after the stated ones, too."""
    return {theirs: ours for theirs, ours in values.items() if theirs not in stated}
