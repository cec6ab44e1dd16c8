"""Only versions that the workers can use, too, are loaded: else a damaged one would push a good one off the server."""

from pathlib import Path

import grpc

from schemas.release import MANIFEST_PATH
from schemas.release_folder import ReleaseError, look_at_release
from schemas.release_signature import read_key
from schemas.servable import DEFAULT_MODEL_NAME
from serving.embedded.errors import StatusError
from serving.embedded.options import ServerOptions


class ReleaseCheck:
    """Holds versions against their manifests before they are loaded.

    A model of another name than insession's own may be any SavedModel: without a manifest it is served as it is, unless
    there is a key. Raises UsageError where the key cannot be read.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._key = None if options.release_key_file is None else read_key(options.release_key_file)
        self._needs_manifest = self._key is not None or options.model_name == DEFAULT_MODEL_NAME

    def check(self, path: Path) -> None:
        """Raise StatusError DATA_LOSS for a release that differs from its manifest or lacks one."""
        if not self._needs_manifest and not (path / MANIFEST_PATH).exists():
            return
        try:
            look_at_release(path, self._key).verify()
        except ReleaseError as error:
            raise StatusError(grpc.StatusCode.DATA_LOSS, str(error)) from error
