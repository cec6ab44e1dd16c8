"""What was measured, for people and for machines."""

import os
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from bench.measure import Latency, Throughput
from bench.programs import Subject

BASELINES: Final = {"bare_faust": "x Faust", "raw_aiokafka": "x aiokafka"}
LEAST_SHOWN_US: Final = 1.0
"""Of a thread; the JSON has all."""
MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Machine:
    """What was measured on, and how loaded it was when the measuring began: the kernel's average over a minute."""

    cores: int
    load_before: float

    @classmethod
    def here(cls) -> "Machine":
        """Look."""
        return cls(os.cpu_count() or 1, round(os.getloadavg()[0], 2))


@dataclass(frozen=True, slots=True)
class Report:
    """One run.

    subjects: by key. throughput: a figure a round; rounds are neighbours in time, so ratios are made in each.
    latency: by the items of the release and the rate in events/s. model_steps: by the items.
    bytes_per_session: by where they are held.
    """

    machine: Machine
    settings: Mapping[str, Any]
    subjects: Mapping[str, Subject]
    throughput: Mapping[str, Sequence[Throughput]]
    latency: Mapping[int, Mapping[float, Latency]]
    model_steps: Mapping[int, Mapping[str, Any]]
    bytes_per_session: Mapping[str, int]

    def ratio(self, key: str, baseline: str) -> float | None:
        """Return the median over the rounds of one program's rate divided by another's in the same round."""
        pairs = zip(self.throughput[key], self.throughput.get(baseline, ()), strict=False)
        ratios = [ours.events_per_second / theirs.events_per_second for ours, theirs in pairs]
        return statistics.median(ratios) if ratios else None

    def throughput_table(self) -> Table:
        """Draw events per second."""
        answered = [
            f"{self.subjects[key].name}: {_shares(found[-1].answers)}"
            for key, found in self.throughput.items()
            if found[-1].answers
        ]
        loaded = f"load before {self.machine.load_before:g} on {self.machine.cores} cores"
        table = _table(f"A backlog, medians, ratios of the same round; CPU us an event; {loaded}", answered)
        table.add_column("program", no_wrap=True)
        for heading in ("events/s", "rounds", *BASELINES.values(), "CPU", "by thread", "server", "MiB", "server MiB"):
            table.add_column(heading, justify="right")
        for key, figures in self.throughput.items():
            rates = [one.events_per_second for one in figures]
            ratios = [self.ratio(key, baseline) for baseline in BASELINES]
            cpu, server = _cpu(one.cpu_us.program for one in figures), _cpu(one.cpu_us.server for one in figures)
            table.add_row(
                self.subjects[key].name,
                f"{statistics.median(rates):,.0f}",
                " ".join(f"{rate:.0f}" for rate in rates),
                *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
                f"{sum(cpu.values()):.0f}",
                ", ".join(f"{name} {us:.0f}" for name, us in cpu.items() if us >= LEAST_SHOWN_US),
                f"{sum(server.values()):.0f}" if server else "",
                f"{statistics.median(one.held.program for one in figures) / MIB:.0f}",
                f"{statistics.median(one.held.server for one in figures) / MIB:.0f}" if server else "",
            )
        return table

    def latency_table(self) -> Table:
        """Draw the latency."""
        answers = [
            f"{rate:g}/s, {n_items:,} items: {_shares(found.answers)}"
            for n_items, by_rate in self.latency.items()
            for rate, found in by_rate.items()
        ]
        table = _table("Steady rates; ms from a click to its answer on the broker; CPU us an event", answers)
        for heading in ("items", "events/s", "events", "p50", "p90", "p99", "max", "model", "CPU", "server"):
            table.add_column(heading, justify="right")
        for n_items, by_rate in self.latency.items():
            for rate, found in by_rate.items():
                table.add_row(
                    f"{n_items:,}",
                    f"{rate:g}",
                    f"{found.events:,}",
                    *(f"{value:.0f}" for value in (found.p50_ms, found.p90_ms, found.p99_ms, found.max_ms)),
                    f"{found.model_share:.1%}",
                    f"{sum(found.cpu_us.program.values()):.0f}",
                    f"{sum(found.cpu_us.server.values()):.0f}",
                )
        return table

    def as_json(self) -> dict[str, Any]:
        """Return all of it in plain types; `latency` is that of the largest release."""
        latency = {
            n_items: {f"{rate:g}": _latency(found) for rate, found in by_rate.items()}
            for n_items, by_rate in self.latency.items()
        }
        return {
            "machine": {"cores": self.machine.cores, "load_before": self.machine.load_before},
            "settings": dict(self.settings),
            "throughput": {key: self._throughput(key) for key in self.throughput},
            "latency": latency[max(latency)] if latency else {},
            "latency_by_items": {str(n_items): by_rate for n_items, by_rate in latency.items()},
            "model_step": {str(n_items): dict(step) for n_items, step in self.model_steps.items()},
            "bytes_per_session": dict(self.bytes_per_session),
        }

    def draw(self, path: Path) -> None:
        """Draw rates, CPU by thread and latency into an SVG file."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(12, 4), layout="constrained")
        rates, threads, times = figure.subplots(1, 3)
        names = [self.subjects[key].name for key in self.throughput]
        rates.barh(
            names, [statistics.median(one.events_per_second for one in found) for found in self.throughput.values()]
        )
        rates.set_title("events/s of a backlog")
        cpus = [_cpu(one.cpu_us.program for one in found) for found in self.throughput.values()]
        lefts = [0.0] * len(names)
        for thread in dict.fromkeys(name for cpu in cpus for name, us in cpu.items() if us >= LEAST_SHOWN_US):
            widths = [cpu.get(thread, 0.0) for cpu in cpus]
            threads.barh(names, widths, left=lefts, label=thread)
            lefts = [left + width for left, width in zip(lefts, widths, strict=True)]
        threads.set_title("CPU us an event, by thread")
        threads.set_yticklabels([])
        threads.legend(fontsize="small")
        for n_items, by_rate in self.latency.items():
            for name in ("p50_ms", "p90_ms", "p99_ms"):
                label = f"{name.removesuffix('_ms')}, {n_items:,} items"
                times.plot(list(by_rate), [getattr(found, name) for found in by_rate.values()], "o-", label=label)
        times.set(title="ms from click to answer", xlabel="events/s", xscale="log", yscale="log")
        if self.latency:
            times.legend(fontsize="small")
        for axes in (rates, threads):
            axes.invert_yaxis()
        figure.savefig(path, format="svg")

    def _throughput(self, key: str) -> dict[str, Any]:
        figures = self.throughput[key]
        rates = [one.events_per_second for one in figures]
        server = _cpu(one.cpu_us.server for one in figures)
        server_held_bytes = statistics.median(one.held.server for one in figures)
        return {
            "events_per_second": statistics.median(rates),
            "rounds": rates,
            "cpu_us_per_event": _cpu(one.cpu_us.program for one in figures),
            "held_bytes": statistics.median(one.held.program for one in figures),
            **({"server_cpu_us_per_event": server, "server_held_bytes": server_held_bytes} if server else {}),
            **{f"ratio_to_{baseline}": self.ratio(key, baseline) for baseline in BASELINES},
            "answers": dict(figures[-1].answers),
            "answered_twice": sum(one.answered_twice for one in figures),
        }


def _latency(found: Latency) -> dict[str, Any]:
    return {
        "events": found.events,
        "p50_ms": found.p50_ms,
        "p90_ms": found.p90_ms,
        "p99_ms": found.p99_ms,
        "max_ms": found.max_ms,
        "model_share": found.model_share,
        "answers": dict(found.answers),
        "cpu_us_per_event": dict(found.cpu_us.program),
        "server_cpu_us_per_event": dict(found.cpu_us.server),
    }


def _cpu(rounds: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the medians over the rounds, the largest first."""
    found = list(rounds)
    names = dict.fromkeys(name for one in found for name in one)
    medians = {name: round(statistics.median(one.get(name, 0.0) for one in found), 1) for name in names}
    return dict(sorted(medians.items(), key=lambda one: -one[1]))


def _table(title: str, answers: Sequence[str]) -> Table:
    caption = "\n".join(answers)
    return Table(title=title, caption=caption, title_justify="left", caption_justify="left", min_width=len(title))


def _shares(answers: Counter[str]) -> str:
    """Return the two most frequent ones; the JSON has all."""
    return ", ".join(f"{name} {count / answers.total():.1%}" for name, count in answers.most_common(2))
