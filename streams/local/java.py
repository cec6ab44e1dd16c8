"""The Java of this machine, for what runs on it: Kafka's broker and Spark."""

import os
import re
import shutil
import subprocess
from typing import Final

from schemas.errors import InsessionError

MINIMUM_JAVA: Final = 17
JAVA_REMEDY: Final = (
    "On Debian: apt-get install openjdk-17-jdk-headless maven; elsewhere any JDK 17 or newer and Maven 3."
)


class JavaUnavailableError(InsessionError):
    """There is no Java, or one that is too old."""


def find_java(product: str, home: str | None = None) -> str:
    """Return the path of a Java that `product` runs on: that of `home`, a JAVA_HOME, else the first of PATH.

    Raises JavaUnavailableError where there is none, or only one older than `MINIMUM_JAVA`.
    """
    java = shutil.which("java", path=os.path.join(home, "bin")) if home else shutil.which("java")  # noqa: PTH118
    if java is None:
        where = f" in JAVA_HOME ({home})" if home else ""
        raise JavaUnavailableError(
            f"{product} needs Java {MINIMUM_JAVA} or newer and there is no `java`{where}. {JAVA_REMEDY}"
        )
    banner = subprocess.run(  # noqa: S603 - the path comes from PATH, the arguments are constants
        [java, "-version"], capture_output=True, text=True, check=False, timeout=60
    ).stderr
    major = re.search(r'version "(\d+)', banner)
    if major is None or int(major[1]) < MINIMUM_JAVA:
        found = banner.splitlines()[0] if banner else "nothing it says of itself"
        raise JavaUnavailableError(f"{product} needs Java {MINIMUM_JAVA} or newer; {java} is {found}. {JAVA_REMEDY}")
    return java
