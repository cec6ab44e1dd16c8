"""Hold what `make bench` wrote against bounds that only a mistake breaks: `make bench-guard`.

Ratios to bare Faust in the same run, far from what a quiet machine gives, since the machine may be busy.
"""

import json
from pathlib import Path
from typing import Any, Final

import click

from bench.commands import run_bench
from schemas.errors import InsessionError

LEAST_RATE: Final = {"no_model": 0.5, "model": 0.12}
"""Events/s of a backlog over bare Faust's, by program."""
MOST_CPU: Final = {"no_model": 1.6}
"""Processor time of an event over bare Faust's."""
LEAST_MODEL_SHARE: Final = 0.5
"""Of the answers that are the model's to give, at every steady rate."""


def complaints(report: dict[str, Any]) -> list[str]:
    """Return what is out of bounds in the JSON of `make bench`, a line each."""
    throughput, latency = report["throughput"], report["latency"]
    found = [
        f"{key}: {throughput[key]['ratio_to_bare_faust']:.2f} of bare Faust's events/s, at least {least} is expected"
        for key, least in LEAST_RATE.items()
        if throughput[key]["ratio_to_bare_faust"] < least
    ]
    cpu_us = {key: sum(one["cpu_us_per_event"].values()) for key, one in throughput.items()}
    found += [
        f"{key}: {cpu_us[key] / cpu_us['bare_faust']:.2f} of bare Faust's processor time, at most {most} is expected"
        for key, most in MOST_CPU.items()
        if cpu_us[key] > most * cpu_us["bare_faust"]
    ]
    found += [
        f"{rate}/s: the model gave {one['model_share']:.0%} of its answers, at least {LEAST_MODEL_SHARE:.0%} is usual"
        for rate, one in latency.items()
        if one["model_share"] < LEAST_MODEL_SHARE
    ]
    found += [
        f"{key}: {one['answered_twice']} answers came twice, where nothing was killed"
        for key, one in throughput.items()
        if one["answered_twice"]
    ]
    return found


@click.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(path: Path) -> None:
    """Read the JSON of `make bench` in PATH; fails where a figure is out of bounds."""
    found = complaints(json.loads(path.read_text()))
    if found:
        raise InsessionError("; ".join(found))
    click.echo(f"{path}: within the bounds")


if __name__ == "__main__":
    run_bench(main)
