"""Why an answer is not the model's: a closed set of reasons, and errors told apart by what the caller does."""

from typing import ClassVar, Literal, get_args

from schemas.errors import InsessionError

Reason = Literal[
    "stale",
    "deadline",
    "breaker_open",
    "unavailable",
    "busy",
    "bad_request",
    "bad_response",
    "version_gone",
    "no_release",
    "unseen_items",
    "filtered_out",
    "cheap",
    "trending_stale",
    "nothing_known",
    "internal_error",
]
"""Why no higher tier answered.

stale: the click was too old when its turn came; the model was not asked.
deadline, breaker_open, unavailable, busy, bad_request, bad_response: how asking the model ended.
version_gone: the server has unloaded the release's version and offers none that the worker holds.
no_release: no verified release yet. unseen_items: the release knows no item of the session;
with tier model or knn these were asked for items like them.
filtered_out: the higher tiers had items, and the filters removed them all.
cheap: nothing personal was asked for (late event, bot, no consent).
trending_stale: the same, and what is trending is too old to be answered, so that popular is that of the release or the
stream.
nothing_known: the answer is empty. internal_error: a bug, logged with its traceback.
"""
REASONS: tuple[Reason, ...] = get_args(Reason)


class PredictError(InsessionError):
    """Asking the model did not work; the caller answers from the next tier.

    counts_for_breaker: True where asking again soon would probably fail too.
    """

    reason: ClassVar[Reason] = "unavailable"
    counts_for_breaker: ClassVar[bool] = True


class ModelUnavailableError(PredictError):
    """The server cannot be reached or broke down. Check that it runs and that `serving.address` names it."""


class DeadlineExceededError(PredictError):
    """The answer would have come too late. Look at the server's latency, or allow more time."""

    reason = "deadline"


class ServerBusyError(PredictError):
    """The server, or our own queue before it, takes no more at the moment. Add servers or workers."""

    reason = "busy"


class BadResponseError(PredictError):
    """The server answered what this release's signature does not say. Check what the server was given to serve."""

    reason = "bad_response"


class BadRequestError(PredictError):
    """The server refuses these rows; others may pass. The release and the servable do not fit each other."""

    reason = "bad_request"
    counts_for_breaker = False


class ModelNotFoundError(PredictError):
    """The server does not have the version asked for (any more). Resolve the version again, once."""

    reason = "version_gone"
    counts_for_breaker = False


class BreakerOpenError(PredictError):
    """The breaker is open after repeated failure; nothing was sent."""

    reason = "breaker_open"
    counts_for_breaker = False
