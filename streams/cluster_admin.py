"""The admin client, which says why the brokers do not let it in as soon as that is known."""

import time
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata

_STEP_SECONDS: Final = 1.0
_REFUSED: Final = KafkaError._AUTHENTICATION  # noqa: SLF001 - the library's public constants
_NO_TLS: Final = KafkaError._SSL  # noqa: SLF001
_ALL_DOWN: Final = KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001


class ClusterAdmin(AdminClient):  # type: ignore[misc]
    """An admin client whose `list_topics` fails at once where trying again is no use.

    librdkafka tries a wrong password or an untrusted certificate again until the time is over, and tells only that.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Take librdkafka's config: `bootstrap.servers`, and TLS or SASL where asked for."""
        self._complaints: list[KafkaError] = []
        # The errors are raised here; librdkafka would also print them.
        super().__init__({"log_level": 2, "error_cb": self._complaints.append, **config})

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> ClusterMetadata:
        """Return what the cluster has, within `timeout` seconds; raises KafkaException with the reason if known."""
        arguments = () if topic is None else (topic,)
        deadline = time.monotonic() + timeout if timeout >= 0 else float("inf")
        while True:
            left_seconds = deadline - time.monotonic()
            self._complaints.clear()
            try:
                return super().list_topics(*arguments, timeout=max(0.001, min(_STEP_SECONDS, left_seconds)))
            except KafkaException as error:
                self.poll(0)
                reason = self._reason()
                if reason is not None and reason.code() in {_REFUSED, _NO_TLS}:
                    raise KafkaException(reason) from error
                if left_seconds <= _STEP_SECONDS:
                    raise (error if reason is None else KafkaException(reason)) from error

    def _reason(self) -> KafkaError | None:
        """Give the complaint that says most."""
        found = [error for error in self._complaints if error.code() != _ALL_DOWN]
        return next((error for error in found if error.code() in {_REFUSED, _NO_TLS}), found[0] if found else None)


def explained(error: KafkaException) -> str:
    """Say what a failed call to the cluster means, and which setting to look at."""
    reason: KafkaError = error.args[0]
    if reason.code() == _REFUSED:
        return (
            f"The brokers refused the user: {reason.str()}. Check kafka.security.username, kafka.security.password and "
            "kafka.security.mechanism."
        )
    if reason.code() == _NO_TLS:
        return (
            f"TLS to the brokers failed: {reason.str()}. Check kafka.security.ca_file, kafka.security.verify_hostname "
            "and, where brokers ask for a client certificate, kafka.security.certificate_file."
        )
    return (
        f"The brokers did not answer: {reason.str()}. Check the address, kafka.brokers, and kafka.security.protocol, "
        "which must be that of the listener."
    )
