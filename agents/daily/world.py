"""What the plan of a day is made of, as it lies there."""

import hashlib
from collections.abc import Callable
from datetime import date
from importlib import metadata
from pathlib import Path

from agents.daily.plan import World
from agents.daily.store import Store
from agents.settings import Settings
from schemas.ids import ModelVersion
from session_model.files import file_sha256


def world_of(settings: Settings, store: Store, day: date, champion: Callable[[], ModelVersion | None]) -> World:
    """Gather it; champion: asks what serves. Raises OSError."""
    record = store.record(day)
    return World(
        day=day,
        settings=settings,
        code_version=metadata.version("insession"),
        find=store.find,
        champion=champion,
        against=None if record is None else record.against,
        is_over=record is not None and record.state == "done",
        former=store.former(record),
        sql=_sql_sha256(settings.pipeline.sql),
    )


def _sql_sha256(folder: Path | None) -> str | None:
    if folder is None:
        return None
    content = "".join(f"{path.name} {file_sha256(path)}\n" for path in sorted(folder.glob("*.sql")))
    return hashlib.sha256(content.encode()).hexdigest()
