"""Options that the commands of releases share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from schemas.servable import DEFAULT_MODEL_NAME

_Command = TypeVar("_Command", bound=Callable[..., Any])
RELEASE: Final = click.Path(exists=True, file_okay=False, path_type=Path)
"""A folder OUT/MODEL_NAME/VERSION."""
KEY: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
KEY_VARIABLE: Final = "INSESSION_SERVING__RELEASE_KEY_FILE"


def registry_option(what: str, *, is_required: bool) -> Callable[[_Command], _Command]:
    """Take the address of the registry; what: it is for, for the help."""
    return click.option(
        "--registry",
        envvar="INSESSION_REGISTRY",
        metavar="URI",
        required=is_required,
        help=f"{what}: sqlite:///FILE, or the address of a server.",
    )


def model_name_option(what: str) -> Callable[[_Command], _Command]:
    """Take the model's name; what: it is, for the help."""
    return click.option(
        "--model-name", default=DEFAULT_MODEL_NAME, envvar="INSESSION_SERVING__MODEL_NAME", show_default=True, help=what
    )
