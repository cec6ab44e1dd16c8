"""One Apicurio Registry on loopback, which speaks the API of Confluent's registry."""

import signal
import tarfile
import urllib.request
from pathlib import Path
from typing import Final, Self

from schemas.child_process import ChildError, ChildProcess
from schemas.free_ports import free_port
from streams.local.kafka_jars import KafkaUnavailableError, default_cache, fetch, find_java

_POM: Final = Path(__file__).parent / "apicurio" / "pom.xml"
_START_TIMEOUT_SECONDS: Final = 120.0


class RegistryNode:
    """A registry that keeps its schemas in memory; it dies with the tests.

    Raises KafkaUnavailableError where Java 17 or Maven is missing, or when it does not answer in 120 s.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()

    @property
    def url(self) -> str:
        """What `registry.url` must be."""
        return f"http://127.0.0.1:{self._port}/apis/ccompat/v7"

    def __enter__(self) -> Self:
        java = find_java()
        (archive,) = fetch(default_cache(), _POM).iterdir()
        with tarfile.open(archive) as distribution:
            distribution.extractall(self._folder, filter="data")
        (runner,) = self._folder.glob("apicurio-registry-app-*-runner.jar")
        options = ("-Xmx512m", f"-Dquarkus.http.port={self._port}", "-Dquarkus.http.host=127.0.0.1")
        command = [java, *options, "-jar", str(runner)]
        self._child = ChildProcess(
            "the schema registry", command, log_path=self._folder / "registry.log", cwd=self._folder
        )
        try:
            self._child.wait_until(self._answers, _START_TIMEOUT_SECONDS)
        except ChildError as error:
            self._child.kill()
            raise KafkaUnavailableError(str(error)) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()

    def hang(self) -> None:
        """Answer nothing any more, as a host that is overloaded or cut off."""
        self._child.send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again, also what was asked meanwhile."""
        self._child.send(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=2):  # noqa: S310 - our own address
                return True
        except OSError:
            return False
