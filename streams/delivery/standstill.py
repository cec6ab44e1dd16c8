"""How long an offset of a partition has not moved."""

from faust.types import TP


class Standstill:
    """Measures for each partition since when its offset is the same; time is injected."""

    def __init__(self) -> None:
        self._since: dict[TP, tuple[int, float]] = {}

    def seconds(self, tp: TP, offset: int, now_seconds: float) -> float:
        """Take in one look at a partition; returns for how long the offset has been the same."""
        known = self._since.get(tp)
        if known is None or known[0] != offset:
            self.restart(tp, offset, now_seconds)
            return 0.0
        return now_seconds - known[1]

    def restart(self, tp: TP, offset: int, now_seconds: float) -> None:
        """Measure anew from now on."""
        self._since[tp] = (offset, now_seconds)

    def keep(self, tps: set[TP]) -> None:
        """Forget partitions that are no longer ours."""
        for tp in self._since.keys() - tps:
            del self._since[tp]
