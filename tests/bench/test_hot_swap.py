"""A release takes over from another under load, on the real model server: no shopper may notice."""

import asyncio
from pathlib import Path

import pytest

from bench.hot_swap import Models, Plan, swapped_under_load
from schemas.ids import ItemId, VisitorId
from schemas.records import SessionEvent
from schemas.servable import DEFAULT_MODEL_NAME
from serving.chain import AnswerRequest
from serving.embedded.options import ServerOptions
from serving.embedded_process import EmbeddedServer
from tests.compose.release import write_untrained

ITEMS = [ItemId(f"i{number}") for number in range(1, 21)]
REQUESTS = [
    AnswerRequest(
        events=[SessionEvent("view", 0, item)],
        location=None,
        bought=(),
        deadline=0.0,
        want_personal=True,
        visitor_id=VisitorId(f"of {item}"),
    )
    for item in ITEMS
]
PATIENCE_SECONDS = 60.0
"""So that a slow machine makes no answer late: what is asked here is who answers, not when."""


@pytest.mark.slow
@pytest.mark.parametrize("has_shadow", [False, True])
def test_while_a_release_takes_over_every_question_is_answered_by_a_model(tmp_path: Path, *, has_shadow: bool) -> None:
    """Each by the old or the new one, never by a lower tier; before the record by the old, at the end by the new."""
    made = tmp_path / "made"
    for version in (1, 2):
        write_untrained(made, ITEMS, version)
    first, second = (made / DEFAULT_MODEL_NAME / str(version) for version in (1, 2))
    models = Models(tmp_path / "models", first, second)
    plan = Plan(rate=50, seconds=1, has_shadow=has_shadow, warm_up_seconds=0.5, budget_seconds=PATIENCE_SECONDS)
    options = ServerOptions(models=models.directory, port=0)
    with EmbeddedServer(options, log_path=tmp_path / "server.log") as server:
        swap = asyncio.run(
            swapped_under_load(models, server.address, second, REQUESTS, plan, copies=tmp_path / "copies")
        )
    assert len(swap.asked) == swap.due
    assert {(one.tier, one.reason) for one in swap.asked} == {("model", None)}
    versions = {one.phase: one.by_version.keys() for one in swap.figures()}
    assert versions.pop("swap") in ({"1", "2"}, {"2"})
    shadowed = {"shadow start": {"1"}, "shadow": {"1"}} if has_shadow else {}
    assert versions == {"before": {"1"}, **shadowed, "after": {"2"}}
