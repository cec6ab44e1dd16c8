"""The real command `insession observer` as a process of its own, on the deployment of a test."""

from tests.kafka.worker_process import WorkerProcess


class ObserverProcess(WorkerProcess):
    """One observer; it keeps nothing on disk but its log."""

    command_name = "observer"
    has_datadir = False

    @property
    def is_active(self) -> bool:
        """Return whether it counts."""
        return self.metric("insession_observer_active") == 1

    @property
    def is_done(self) -> bool:
        """Return whether it counts, and has read all that is there."""
        return self.is_active and self.is_ready() and self.metric("insession_observer_lag_records") == 0
