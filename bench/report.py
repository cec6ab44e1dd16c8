"""What was measured, for people and for machines."""

import os
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from rich.table import Table

from bench.measure import Latency, Throughput

BASELINES = ("bare Faust", "raw aiokafka")


@dataclass(frozen=True, slots=True)
class Report:
    """One run. throughput: by program, a figure a round; rounds are neighbours in time, so ratios are made in each."""

    settings: dict[str, Any]
    throughput: dict[str, list[Throughput]]
    latency: Latency

    def ratio(self, name: str, baseline: str) -> float:
        """Return the median over the rounds of one program's rate divided by another's in the same round."""
        pairs = zip(self.throughput[name], self.throughput[baseline], strict=True)
        return statistics.median(ours.events_per_second / theirs.events_per_second for ours, theirs in pairs)

    def throughput_table(self) -> Table:
        """Draw events per second."""
        answered = [
            f"{name}: {_shares(found[-1].answers)}" for name, found in self.throughput.items() if found[-1].answers
        ]
        table = _table(
            "A backlog; ratios are medians of those within a round; CPU is the program's own, an event", answered
        )
        table.add_column("program", no_wrap=True)
        for heading in ("events/s", "rounds", "CPU ms", "x Faust", "x aiokafka"):
            table.add_column(heading, justify="right")
        for name, figures in self.throughput.items():
            rates = _rates(figures)
            ratios = [f"{self.ratio(name, baseline):.3g}" for baseline in BASELINES]
            rounds = " ".join(f"{rate:.0f}" for rate in rates)
            table.add_row(name, f"{statistics.median(rates):.0f}", rounds, f"{_cpu_ms(figures):.2f}", *ratios)
        return table

    def latency_table(self) -> Table:
        """Draw the latency."""
        found = self.latency
        title = f"A steady {self.settings['rate']:g} events/s; ms from a click to its answer on the broker"
        table = _table(title, [_shares(found.answers)])
        for heading in ("events", "p50", "p95", "p99", "max"):
            table.add_column(heading, justify="right")
        times = [f"{value:.0f}" for value in (found.p50_ms, found.p95_ms, found.p99_ms, found.max_ms)]
        table.add_row(str(found.events), *times)
        return table

    def as_json(self) -> dict[str, Any]:
        """Return all of it in plain types."""
        throughput = {
            name: {
                "events_per_second": statistics.median(_rates(figures)),
                "rounds": _rates(figures),
                "cpu_ms_per_event": _cpu_ms(figures),
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


def _table(title: str, answers: Sequence[str]) -> Table:
    caption = "\n".join(answers)
    return Table(title=title, caption=caption, title_justify="left", caption_justify="left", min_width=len(title))


def _rates(figures: Sequence[Throughput]) -> list[float]:
    return [figure.events_per_second for figure in figures]


def _cpu_ms(figures: Sequence[Throughput]) -> float:
    return statistics.median(figure.cpu_ms_per_event for figure in figures)


def _shares(answers: Counter[str]) -> str:
    """Return the two most frequent ones; the JSON has all."""
    return ", ".join(f"{name} {count / answers.total():.1%}" for name, count in answers.most_common(2))
