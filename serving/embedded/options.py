"""What a model server is told when it starts. Free of TensorFlow: the parent process reads it too."""

from dataclasses import dataclass, field
from pathlib import Path

from schemas.servable import DEFAULT_MODEL_NAME
from serving.embedded.policies import LatestVersions, VersionPolicy

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Options of one model server.

    models: the folder above the model's: versions lie in `models/model_name/<version>/`.
    port: 0 picks a free one.
    op_threads: threads within and across ops; None leaves it to TensorFlow, 1 makes the order of float sums repeatable.
    max_concurrent_calls: calls beyond it are answered RESOURCE_EXHAUSTED at once.
    release_key_file: key with which releases are signed; None: only their checksums count.
    """

    models: Path
    model_name: str = DEFAULT_MODEL_NAME
    host: str = LOOPBACK
    port: int = 8500
    policy: VersionPolicy = field(default_factory=lambda: LatestVersions(2))
    poll_seconds: float = 1.0
    op_threads: int | None = None
    max_concurrent_calls: int = 256
    release_key_file: Path | None = None

    @property
    def base_path(self) -> Path:
        """The folder whose children are versions."""
        return self.models / self.model_name

    def arguments(self) -> list[str]:
        """Spell these options for the command line of `python -m serving.embedded`."""
        arguments = ["--models", str(self.models), "--model-name", self.model_name]
        arguments += ["--host", self.host, "--port", str(self.port), "--poll-seconds", str(self.poll_seconds)]
        arguments += ["--max-concurrent-calls", str(self.max_concurrent_calls), *self.policy.arguments()]
        if self.release_key_file is not None:
            arguments += ["--release-key-file", str(self.release_key_file)]
        if self.op_threads is not None:
            arguments += ["--op-threads", str(self.op_threads)]
        return arguments
