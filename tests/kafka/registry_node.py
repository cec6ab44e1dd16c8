"""One Apicurio Registry on loopback, which speaks the API of Confluent's registry."""

import signal
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final, Self

from agents.demo.processes import free_port
from schemas import watchdog
from streams.local.kafka_jars import KafkaUnavailableError, default_cache, fetch, find_java

_POM: Final = Path(__file__).parent / "apicurio" / "pom.xml"
_START_TIMEOUT_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.2


class RegistryNode:
    """A registry that keeps its schemas in memory; it dies with the tests.

    Raises KafkaUnavailableError where Java 17 or Maven is missing, or when it does not answer in 120 s.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._log_path = folder / "registry.log"

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
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [java, *options, "-jar", str(runner)],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._watchdog = watchdog.kill_with_parent(self._process.pid)
        try:
            self._await_answer()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        watchdog.dismiss(self._watchdog)

    def hang(self) -> None:
        """Answer nothing any more, as a host that is overloaded or cut off."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again, also what was asked meanwhile."""
        self._process.send_signal(signal.SIGCONT)

    def _await_answer(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/subjects", timeout=2):  # noqa: S310 - our own address
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(_POLL_SECONDS)
        last_lines = " | ".join(self._log_path.read_text(errors="replace").splitlines()[-5:])
        raise KafkaUnavailableError(f"the schema registry does not answer: {last_lines}")
