"""What was measured, for people and for machines."""

import os
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from rich.table import Table

from tests.bench.measure import Latency, Throughput

BASELINES = ("bare Faust", "raw aiokafka")


@dataclass(frozen=True, slots=True)
class Report:
    """One run. throughput: by program, a figure a round; rounds are neighbours in time, so ratios are made in each."""

    settings: dict[str, Any]
    throughput: dict[str, list[Throughput]]
    latency: Latency

    def ratio(self, name: str, baseline: str) -> float:
        """Give the median over the rounds of one program's rate divided by another's in the same round."""
        pairs = zip(self.throughput[name], self.throughput[baseline], strict=True)
        return statistics.median(ours.events_per_second / theirs.events_per_second for ours, theirs in pairs)

    def throughput_table(self) -> Table:
        """Draw events per second."""
        table = Table("program", title="A backlog: events/s, and the median ratio within a round", title_justify="left")
        for heading in ("events/s", "rounds", *(f"x {baseline}" for baseline in BASELINES)):
            table.add_column(heading, justify="right")
        table.add_column("answers")
        for name, figures in self.throughput.items():
            rates = _rates(figures)
            ratios = [f"{self.ratio(name, baseline):.3g}" for baseline in BASELINES]
            rounds = " ".join(f"{rate:.0f}" for rate in rates)
            table.add_row(name, f"{statistics.median(rates):.0f}", rounds, *ratios, _shares(figures[-1].answers))
        return table

    def latency_table(self) -> Table:
        """Draw the latency."""
        title = f"A steady {self.settings['rate']:g} events/s: milliseconds from the click to its answer on the broker"
        table = Table(title=title, title_justify="left")
        for heading in ("events", "p50", "p95", "p99", "max"):
            table.add_column(heading, justify="right")
        table.add_column("answers")
        found = self.latency
        times = [f"{value:.0f}" for value in (found.p50_ms, found.p95_ms, found.p99_ms, found.max_ms)]
        table.add_row(str(found.events), *times, _shares(found.answers))
        return table

    def as_json(self) -> dict[str, Any]:
        """Give all of it in plain types."""
        throughput = {
            name: {
                "events_per_second": statistics.median(_rates(figures)),
                "rounds": _rates(figures),
                **{
                    f"ratio_to_{baseline.replace(' ', '_').lower()}": self.ratio(name, baseline)
                    for baseline in BASELINES
                },
                "answers": dict(figures[-1].answers),
            }
            for name, figures in self.throughput.items()
        }
        latency = {field.name: getattr(self.latency, field.name) for field in fields(self.latency)}
        settings = {**self.settings, "cpu_count": os.cpu_count()}
        return {
            "settings": settings,
            "throughput": throughput,
            "latency": {**latency, "answers": dict(self.latency.answers)},
        }


def _rates(figures: Sequence[Throughput]) -> list[float]:
    return [figure.events_per_second for figure in figures]


def _shares(answers: Counter[str]) -> str:
    """Name the two most frequent ones; the JSON has all."""
    return ", ".join(f"{name} {count / answers.total():.1%}" for name, count in answers.most_common(2))
