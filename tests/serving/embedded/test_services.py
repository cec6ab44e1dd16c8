from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import grpc
import pytest
from structlog.testing import capture_logs

from serving.embedded.policies import AllVersions
from serving.embedded.services import ModelService
from serving.embedded.versions import ModelVersions
from tests.serving.rec_model import recommend_request

PREDICT = SimpleNamespace(method="/tensorflow.serving.PredictionService/Predict", invocation_metadata=())


class AbortedError(Exception):
    """What gRPC raises when a call is aborted."""


class EndedCall:
    """The context of a call whose client is gone."""

    code: grpc.StatusCode | None = None

    def is_active(self) -> bool:
        """Return False: nobody waits."""
        return False

    def abort(self, code: grpc.StatusCode, _details: str) -> NoReturn:
        """End the call."""
        self.code = code
        raise AbortedError


def test_a_call_that_ended_while_it_waited_does_not_run(tmp_path: Path) -> None:
    """After its deadline, or a cancel, a call that waited for a thread is dropped before it costs anything."""
    (tmp_path / "1").mkdir()
    versions: ModelVersions[Any] = ModelVersions(tmp_path, AllVersions(), lambda _path: object())
    versions.poll()
    handler = ModelService(versions).handlers()[0].service(PREDICT)
    call = EndedCall()
    with pytest.raises(AbortedError):
        handler.unary_unary(recommend_request(tmp_path.name), call)
    assert call.code is grpc.StatusCode.CANCELLED


class TracedCall(EndedCall):
    """The context of a call under way, with its metadata."""

    def __init__(self, **metadata: str) -> None:
        self._metadata = tuple(metadata.items())

    def is_active(self) -> bool:
        """Return True: somebody waits."""
        return True

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what the client sent beside its request."""
        return self._metadata


@pytest.mark.parametrize(("flags", "lines"), [("01", 1), ("00", 0)])
def test_a_call_of_a_sampled_trace_leaves_its_id_in_the_log(tmp_path: Path, flags: str, lines: int) -> None:
    """So that one click can be followed to the server; calls that nobody records are not logged."""
    versions: ModelVersions[Any] = ModelVersions(tmp_path, AllVersions(), lambda _path: object())
    handler = ModelService(versions).handlers()[0].service(PREDICT)
    call = TracedCall(traceparent=f"00-{'ab' * 16}-{'cd' * 8}-{flags}")
    with capture_logs() as logged, pytest.raises(AbortedError):
        handler.unary_unary(recommend_request(tmp_path.name), call)
    assert [(entry["trace_id"], entry["span_id"]) for entry in logged if entry["event"] == "traced_call"] == [
        ("ab" * 16, "cd" * 8)
    ] * lines
