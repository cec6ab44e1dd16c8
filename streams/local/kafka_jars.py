"""The jars of Apache Kafka, fetched once by Maven into a folder that later starts read."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from schemas.errors import InsessionError
from streams.local import java

POM: Final = Path(__file__).with_name("pom.xml")
_FETCH_TIMEOUT_SECONDS: Final = 600


class KafkaUnavailableError(InsessionError):
    """Apache Kafka cannot run here: a tool is missing, the jars cannot be fetched, or the broker does not start."""


def find_java() -> str:
    """Return the path of a Java that Kafka 4 runs on; raises KafkaUnavailableError where there is none."""
    try:
        return java.find_java("Kafka")
    except java.JavaUnavailableError as error:
        raise KafkaUnavailableError(str(error)) from error


def default_cache() -> Path:
    """Return where the jars are kept: `.kafka/` of a checkout, else the user's cache folder."""
    root = Path(__file__).parents[2]
    if (root / "pyproject.toml").is_file():
        return root / ".kafka"
    return Path.home() / ".cache" / "insession" / "kafka"


def fetch(cache: Path, pom: Path = POM) -> Path:
    """Return the folder of the jars that `pom` pins; fetch them (about 45 MB) where the cache does not hold them.

    The folder carries the hash of the pom and appears by a rename, so a changed pin is fetched anew and processes that
    start together never see half a folder. Raises KafkaUnavailableError without Maven or when Maven fails.
    """
    libs = cache / f"libs-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if libs.is_dir():
        return libs
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailableError(f"The jars of Kafka are fetched by Maven and there is no `mvn`. {java.JAVA_REMEDY}")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as folder:
        _copy_dependencies(maven, pom, Path(folder) / "libs")
        try:
            (Path(folder) / "libs").rename(libs)
        except OSError:
            if not libs.is_dir():  # else another process was first, with the same jars
                raise
    return libs


def _copy_dependencies(maven: str, pom: Path, target: Path) -> None:
    command = [
        *(maven, "--quiet", "--batch-mode", "--file", str(pom), "dependency:copy-dependencies"),
        *("-DincludeScope=runtime", f"-DoutputDirectory={target.resolve()}"),
    ]
    run = subprocess.run(  # noqa: S603 - no shell; the variable parts are paths of ours
        command, capture_output=True, text=True, check=False, timeout=_FETCH_TIMEOUT_SECONDS
    )
    if run.returncode != 0:
        reason = next((line for line in run.stdout.splitlines() if "ERROR" in line), f"exit code {run.returncode}")
        raise KafkaUnavailableError(
            f"Maven could not fetch the jars of Kafka: {reason.strip()}. "
            f"Run `mvn -f {pom} dependency:copy-dependencies` and mend what it names: network, proxy or mirror."
        )
