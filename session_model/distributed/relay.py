"""The chief's messages as progress, across restarts, and what the restarts cost."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from session_model.distributed.messages import EpochEnded, Finished, Message, Noted, Resumed, Started, Stepped
from session_model.networks.trainer import Effort
from session_model.runs.progress import TrainingProgress


@dataclass(slots=True)
class Relay:
    """Hears one training.

    step: the last one that was done. seconds_lost: from the last step before each loss until the training was as far
    again.
    """

    progress: TrainingProgress
    restarts: int = 0
    seconds_lost: float = 0.0
    step: int = 0
    _furthest: int = 0
    _moved_at: float = field(default_factory=time.monotonic)
    _lost_at: float | None = None
    _is_new_start: bool = False

    def __call__(self, message: Message) -> None:
        """Hand a message of the chief on."""
        match message:
            case Started():
                self.progress.started(message.phase, message.n_steps)
            case Resumed():
                self.step = message.n_steps
                self.progress.resumed(message.reports, message.n_steps)
            case Stepped():
                self._stepped(message)
            case EpochEnded():
                self.progress.epoch_ended(message.report)
            case Noted():
                self.progress.noted(message.text)
            case _:
                pass

    def lost(self, what: str, *, limit: int) -> None:
        """Note that all workers start again because of `what`."""
        self._lost_at = self._lost_at or self._moved_at
        self._furthest = max(self._furthest, self.step)
        self.restarts += 1
        self._is_new_start = True
        self.progress.noted(f"{what}, after step {self.step}; all workers start again ({self.restarts} of {limit})")

    def ended(self) -> None:
        """Note that the training is over."""
        if self._lost_at is not None:
            self.seconds_lost += time.monotonic() - self._lost_at
            self._lost_at = None

    def _stepped(self, message: Stepped) -> None:
        if self._is_new_start:
            self._is_new_start = False
            self.progress.noted(f"goes on from step {message.step - 1}")
        self.step, self._moved_at = message.step, time.monotonic()
        self.progress.stepped(message.clicks)
        if self.step >= self._furthest:
            self.ended()


def add_effort(before: Effort, relay: Relay, finished: Sequence[Finished]) -> Effort:
    """Add what a training lost; what a step costs is that of the latest training, as its last start measured it.

    finished: of all workers, the chief first.
    """
    after = replace(
        before, restarts=before.restarts + relay.restarts, seconds_lost=before.seconds_lost + relay.seconds_lost
    )
    if not finished or min(one.steps for one in finished) == 0:
        return after
    return replace(
        after,
        bytes_per_step=finished[0].sent_bytes / finished[0].all_steps,
        seconds_per_step=max(one.seconds / one.steps for one in finished),
        cpu_seconds_per_step=sum(one.cpu_seconds / one.steps for one in finished),
    )
