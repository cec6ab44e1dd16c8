"""All checks of one release, in one call."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from schemas.check_report import CheckReport, CheckThresholds
from schemas.events import unix_ms
from session_model.checks.answers import ask
from session_model.checks.baselines import baselines
from session_model.checks.contender import Contender
from session_model.checks.contract import NO_EVIDENCE, Check, CheckData, CheckInputs, Evidence
from session_model.checks.cost import latency, size
from session_model.checks.guardrails import coverage, guardrails
from session_model.checks.hold_out import hold_out
from session_model.checks.integration import answers_of, integration
from session_model.checks.leak import leak
from session_model.checks.metric_drift import metric_drift
from session_model.checks.self_drift import profile_of, recent, self_drift

CHECKS: Final[Mapping[str, Check]] = {
    "hold_out": hold_out,
    "baselines": baselines,
    "self_drift": self_drift,
    "metric_drift": metric_drift,
    "integration": integration,
    "latency": latency,
    "size": size,
    "guardrails": guardrails,
    "coverage": coverage,
    "leak": leak,
}

DEFAULTS: Final = CheckThresholds()


def run_checks(
    candidate: Contender,
    data: CheckData,
    evidence: Evidence = NO_EVIDENCE,
    limits: CheckThresholds = DEFAULTS,
    *,
    made_at: datetime,
    progress: Callable[[str, int, int], None] = lambda _step, _done, _all: None,
) -> CheckReport:
    """Hold `candidate` against `data` and whatever `evidence` there is.

    Raises InsessionError where no session has two clicks. progress: called with a step, and how much of it is done.
    """
    latest = data.sessions.latest(limits.max_sessions)
    assortment = evidence.assortment(unix_ms(made_at))
    answers = ask(
        candidate, evidence.champion, latest, assortment, limits, lambda done: progress("sessions", done, len(latest))
    )
    version = candidate.release.version
    given = CheckInputs(
        candidate=candidate,
        sessions=data.sessions,
        answers=answers,
        profile=profile_of(candidate.release, answers),
        evidence=evidence,
        history=recent(evidence.history, version, made_at, limits),
        assortment=assortment,
        sent=answers_of(data.sessions, evidence.sent or ()),
    )
    results = {}
    for number, (name, check) in enumerate(CHECKS.items()):
        progress(name, number, len(CHECKS))
        results[name] = check(given, limits)
    progress("checks", len(CHECKS), len(CHECKS))
    return CheckReport(
        version=version,
        against=None if evidence.champion is None else evidence.champion.release.version,
        made_at=made_at,
        data_sha256=data.sha256,
        thresholds=limits,
        checks=results,
        profile=given.profile,
    )
