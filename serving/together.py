"""Answers to many shoppers at once: each runs up to its question to the model, all are asked, and each goes on.

No event loop takes part: a coroutine that awaits nothing but the model is driven by hand (PEP 492). So this works
within a task of Spark and within a notebook, whose loop runs already, and depends on no clock.
"""

from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any

from schemas.ids import ModelVersion
from schemas.ranking import ModelInput, ModelOutput
from schemas.tracing import TraceContext
from serving.chain import Answer, AnswerRequest, Recommender

_Answering = Coroutine["_Question", Any, Answer]


class GatheredModel:
    """Lets every row wait until `answer_many` has asked for all; implements serving.chain.Model."""

    async def predict(
        self, version: ModelVersion, row: ModelInput, deadline: float, trace: TraceContext | None = None
    ) -> ModelOutput:
        """Wait for the row's output."""
        del version, deadline, trace  # there is one release, and nobody is waited for
        return await _Question(row)


class _Question:
    def __init__(self, row: ModelInput) -> None:
        self.row = row

    def __await__(self) -> Generator["_Question", ModelOutput, ModelOutput]:
        return (yield self)


def answer_many(
    recommender: Recommender,
    requests: Sequence[AnswerRequest],
    predict: Callable[[Sequence[ModelInput]], list[ModelOutput]],
) -> list[Answer]:
    """Answer each request as `Recommender.answer` does, in order; `predict` is called once with the rows of all.

    recommender: asks a `GatheredModel`. What `predict` raises is raised: no answer hides that the model failed.
    """
    runs = [recommender.answer(request) for request in requests]
    reached = [_go_on(run, None) for run in runs]
    rows = [one.row for one in reached if isinstance(one, _Question)]
    outputs = iter(predict(rows) if rows else [])
    return [
        _last(_go_on(run, next(outputs)) if isinstance(one, _Question) else one)
        for run, one in zip(runs, reached, strict=True)
    ]


def _go_on(run: _Answering, output: ModelOutput | None) -> "_Question | Answer":
    try:
        return run.send(output)
    except StopIteration as ended:
        answer: Answer = ended.value
        return answer


def _last(reached: "_Question | Answer") -> Answer:
    assert isinstance(reached, Answer), "an answer asks the model once"
    return reached
