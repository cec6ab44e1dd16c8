"""The worker as a process: signals, file handles, and that no way out of it is silent."""

import resource
import signal

import faust
import structlog

from schemas.errors import InsessionError
from streams.app import InsessionApp
from streams.delivery.endings import explained

log = structlog.get_logger(__name__)


class WorkerProcess(faust.Worker):  # type: ignore[misc]
    """Faust's process around an app: without its spinner, whose escapes stand in the log, and without its debugger.

    SIGTERM, SIGINT and SIGHUP end it in order, with exit code 0.
    """

    def __init__(self, app: InsessionApp, log_level: str) -> None:
        super().__init__(app, loglevel=log_level.lower(), override_logging=False, quiet=True)
        self.spinner = None

    def run(self) -> None:
        """Run until a signal comes; raises InsessionError with what to do where something else ends it."""
        try:
            self.execute_from_commandline()
        except SystemExit as ended:
            if not ended.code:
                return
            reason = ended.__context__ or self.crash_reason
            raise InsessionError("the worker ended" if reason is None else explained(reason)) from reason

    def install_signal_handlers(self) -> None:
        """Leave SIGHUP to whoever has it ignored, as nohup does."""
        super().install_signal_handlers()
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            self.loop.add_signal_handler(signal.SIGHUP, self._on_sigterm)

    def _on_sigusr2(self) -> None:
        """Go on: nobody is there to talk to Faust's debugger, and it would hold up the worker for ever."""


def raise_open_files_limit() -> None:
    """Allow as many open files as the system lets us: RocksDB, brokers and pages take about 10 a partition."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # unlimited, where the kernel has another bound
        log.warning("open_files_limit_stays", limit=soft, detail=str(error))
