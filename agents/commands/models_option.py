"""The directory of the models, of this machine or on the Bus."""

from pathlib import Path
from typing import Any

import click

from schemas.bus import BusUrl, FolderUrl, parse_bus_url


class ModelsUrlOrPath(click.Path):
    """A directory, plain or as file:PATH, or s3://BUCKET/PREFIX; gives a BusUrl."""

    def __init__(self) -> None:
        super().__init__(exists=True, file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse a directory that is not there; raises UsageError for a URL that is none."""
        url = parse_bus_url(str(value))
        if isinstance(url, FolderUrl):
            super().convert(str(url.path), param, ctx)
        return url


def while_it_runs(url: BusUrl, model_name: str, *, that_serve: bool = False) -> Path:
    """Have the releases of `url` here until the command ends; see `models_here`."""
    from agents.sources.local_models import models_here

    return click.get_current_context().with_resource(models_here(url, model_name, that_serve=that_serve))
