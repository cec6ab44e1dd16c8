"""Makes the newest release of a Bus a models directory of this machine, for a command that reads it once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from agents.artifact_bus import open_bus
from schemas.bus import BusUrl, FolderUrl
from schemas.errors import InsessionError
from session_model.release.fetching import ReleaseFetcher


@contextmanager
def models_here(url: BusUrl, model_name: str) -> Iterator[Path]:
    """Yield the folder itself, or one with the newest release on the Bus, which is gone behind.

    Raises BusError, and InsessionError where there is no release, the newest is not whole, or the disk is full.
    """
    if isinstance(url, FolderUrl):
        yield url.path
        return
    with TemporaryDirectory(prefix="insession-models-") as folder:
        models = Path(folder)
        result = ReleaseFetcher(open_bus(str(url)), model_name, models / model_name, kept=1).fetch()
        for version, why in result.refused.items():  # an older one would be another one than was asked for
            raise InsessionError(f"{url}: version {version} is refused: {why}")
        if not result.fetched:
            raise InsessionError(
                f"{url} holds no release of {model_name}; bring one: `insession release publish RELEASE --out {url}`"
            )
        yield models
