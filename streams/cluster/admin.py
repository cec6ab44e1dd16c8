"""Clients that say why the brokers do not let them in, as soon as that is known."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata

_STEP_SECONDS: Final = 1.0
_REFUSED: Final = KafkaError._AUTHENTICATION  # noqa: SLF001 - the library's public constants
_NO_TLS: Final = KafkaError._SSL  # noqa: SLF001
_ALL_DOWN: Final = KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001

_NOT_ALLOWED: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)


class Complaints:
    """Keeps what librdkafka says of its connections, which tells more than that a call's time is over.

    librdkafka tries a wrong password or an untrusted certificate again until the time is over, and tells only that.
    """

    def __init__(self) -> None:
        self._errors: list[KafkaError] = []

    def config(self) -> dict[str, Any]:
        """Return what a client needs in its config to be heard; the errors are raised, so it shall not print them."""
        return {"log_level": 2, "error_cb": self._errors.append}

    def metadata(self, client: Any, ask: Callable[[float], ClusterMetadata], timeout: float) -> ClusterMetadata:
        """Call `ask` with shares of `timeout`, seconds, until it answers; fails at once where that is of no use.

        Raises KafkaException with the reason if known.
        """
        deadline = time.monotonic() + timeout if timeout >= 0 else float("inf")
        while True:
            left_seconds = deadline - time.monotonic()
            self._errors.clear()
            try:
                return ask(max(0.001, min(_STEP_SECONDS, left_seconds)))
            except KafkaException as error:
                client.poll(0)
                reason = self._reason()
                if reason is not None and reason.code() in {_REFUSED, _NO_TLS}:
                    raise KafkaException(reason) from error
                if left_seconds <= _STEP_SECONDS:
                    raise (error if reason is None else KafkaException(reason)) from error

    def _reason(self) -> KafkaError | None:
        """Return the complaint that says most."""
        found = [error for error in self._errors if error.code() != _ALL_DOWN]
        return next((error for error in found if error.code() in {_REFUSED, _NO_TLS}), found[0] if found else None)


class ClusterAdmin(AdminClient):  # type: ignore[misc]
    """An admin client whose `list_topics` fails at once where trying again is no use."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Take librdkafka's config: `bootstrap.servers`, and TLS or SASL where asked for."""
        self._complaints = Complaints()
        super().__init__({**self._complaints.config(), **config})

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> ClusterMetadata:
        """Return what the cluster has, within `timeout` seconds; raises KafkaException with the reason if known."""
        arguments = () if topic is None else (topic,)
        ask = super().list_topics
        return self._complaints.metadata(self, lambda seconds: ask(*arguments, timeout=seconds), timeout)


def explained(error: KafkaException) -> str:
    """Describe what a failed call to the cluster means, and which setting to look at."""
    reason: KafkaError = error.args[0]
    if reason.code() == _REFUSED:
        return (
            f"The brokers refused the user: {reason.str()}. Check kafka.security.username, kafka.security.password and "
            "kafka.security.mechanism, or kafka.security.oauth where the mechanism is OAUTHBEARER."
        )
    if reason.code() == _NO_TLS:
        return (
            f"TLS to the brokers failed: {reason.str()}. Check kafka.security.ca_file, kafka.security.verify_hostname "
            "and, where brokers ask for a client certificate, kafka.security.certificate_file."
        )
    if reason.code() in _NOT_ALLOWED:
        return f"The brokers do not let this user do it: {reason.str()}. docs/security.md has the ACLs."
    if reason.code() > 0:
        return f"The brokers refused it: {reason.str()}. Their logs say more."
    return (
        f"The brokers did not answer: {reason.str()}. Check the address, kafka.brokers, and kafka.security.protocol, "
        "which must be that of the listener."
    )
