"""Whether the release answers as fast as the champion, and is not too large."""

import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from schemas.check_report import CheckResult, CheckThresholds
from session_model.checks.answers import CANDIDATE, CHAMPION
from session_model.checks.contender import Contender
from session_model.checks.contract import CheckInputs, judged, not_run
from session_model.evaluation.ranking import Target

_ROUNDS: Final = 5
_ANSWERS: Final = 100
"""Of each round, for each contender."""


def latency(given: CheckInputs, limits: CheckThresholds) -> CheckResult:
    """Hold the p99 of one answer at a time against the champion's, in turn on the same machine in the same minute.

    Of each answer the fastest round counts: a neighbour on the machine disturbs some, and the first one warms up.
    """
    champion = given.evidence.champion
    if champion is None:
        return not_run("no champion to be as fast as; name it with --against")
    contenders = {CANDIDATE: given.candidate, CHAMPION: champion}
    rounds = {name: list[list[float]]() for name in contenders}
    for _ in range(_ROUNDS):
        for name, one in contenders.items():
            rounds[name].append(_seconds(one, given.answers.samples[:_ANSWERS]))
    p99_ms = {name: float(np.percentile(np.min(own, axis=0), 99)) * 1000 for name, own in rounds.items()}
    ratio = p99_ms[CANDIDATE] / p99_ms[CHAMPION]
    figures = {f"{name}_p99_ms": value for name, value in p99_ms.items()} | {"ratio": ratio}
    told = f"p99 of an answer is {p99_ms[CANDIDATE]:.1f} ms, the champion's {p99_ms[CHAMPION]:.1f} ms"
    if ratio <= limits.max_p99_ratio:
        return judged([], told, figures)
    complaint = (
        f"{told}: {ratio:.2f} times, where checks.max_p99_ratio allows {limits.max_p99_ratio:g}; take a smaller recipe "
        "or fewer neighbours, or allow more if the freshness budget does"
    )
    return judged([complaint], "", figures)


def _seconds(contender: Contender, targets: Sequence[Target]) -> list[float]:
    seconds = []
    for target in targets:
        began = time.perf_counter()
        contender.answers([contender.release.encode(target.events)])
        seconds.append(time.perf_counter() - began)
    return seconds


def size(given: CheckInputs, limits: CheckThresholds) -> CheckResult:
    """Bound the bytes of the release, and their ratio to the champion's."""
    champion = given.evidence.champion
    own = _size_bytes(given.candidate)
    figures, complaints = {"bytes": float(own)}, []
    if own > limits.max_release_bytes:
        complaints.append(
            f"the release has {own:,} bytes, checks.max_release_bytes allows {limits.max_release_bytes:,}; train on "
            "fewer sessions or items, or allow more if disks and memory do"
        )
    if champion is not None and (theirs := _size_bytes(champion)):
        figures |= {"champion_bytes": float(theirs), "ratio": own / theirs}
        if own > limits.max_size_ratio * theirs:
            complaints.append(
                f"the release has {own:,} bytes, {own / theirs:.1f} times the champion's, where checks.max_size_ratio "
                f"allows {limits.max_size_ratio:g}; what has grown so: sessions, items, the network?"
            )
    return judged(complaints, f"{own:,} bytes", figures)


def _size_bytes(contender: Contender) -> int:
    return sum(contender.release.manifest.sizes_bytes.values())
