"""Answers to many shoppers at once: each runs up to its question to the model, all are asked, and each goes on.

No event loop takes part: a coroutine that awaits nothing but the model is driven by hand (PEP 492). So this works
within a task of Spark and within a notebook, whose loop runs already, and depends on no clock.
"""

from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any

from schemas.ranking import ModelInput, ModelOutput
from serving.batcher import Question, blended
from serving.chain import Answer, AnswerRequest, Recommender

_Answering = Coroutine["_Asked", Any, Answer]


class GatheredModel:
    """Lets every row wait until `answer_many` has asked for all; implements serving.chain.Model."""

    async def rank(self, question: Question) -> ModelOutput:
        """Wait for the row's output; nobody is waited for, so its deadline is nothing."""
        return await _Asked(question)


class _Asked:
    def __init__(self, question: Question) -> None:
        self.question = question

    def __await__(self) -> Generator["_Asked", ModelOutput, ModelOutput]:
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
    questions = [one.question for one in reached if isinstance(one, _Asked)]
    outputs = iter(blended(questions, predict([one.row for one in questions])) if questions else [])
    return [
        _last(_go_on(run, next(outputs)) if isinstance(one, _Asked) else one)
        for run, one in zip(runs, reached, strict=True)
    ]


def _go_on(run: _Answering, output: ModelOutput | None) -> "_Asked | Answer":
    try:
        return run.send(output)
    except StopIteration as ended:
        answer: Answer = ended.value
        return answer


def _last(reached: "_Asked | Answer") -> Answer:
    assert isinstance(reached, Answer), "an answer asks the model once"
    return reached
