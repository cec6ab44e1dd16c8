"""What every check is given, and what it gives back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from schemas.check_report import AnswerProfile, CheckReport, CheckResult, CheckSlice, CheckThresholds
from schemas.ids import ItemId
from schemas.places import LocationSettings
from schemas.records import CatalogItem, RecommendationOutcome, RecommendationSet
from session_model.checks.answers import Answers
from session_model.checks.assortment import Assortment
from session_model.checks.contender import Contender
from session_model.data.sessions import Sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a release is held against beside the sessions; a check whose part is absent is not run.

    catalog: all records. outcomes, sent: what was written on the topics, in any order; read once. history: reports of
    earlier releases. blocked: items that are never recommended, whatever the catalog says. is_record_needed: neither
    is an item without a record. places: which lies in which.
    """

    champion: Contender | None = None
    catalog: Sequence[CatalogItem] | None = None
    outcomes: Iterable[RecommendationOutcome] | None = None
    sent: Iterable[RecommendationSet] | None = None
    history: Sequence[CheckReport] = ()
    blocked: frozenset[ItemId] = frozenset()
    is_record_needed: bool = False
    places: LocationSettings = field(default_factory=LocationSettings)

    def assortment(self, now_ms: int) -> Assortment:
        """Gather what may be recommended at a moment, Unix milliseconds."""
        return Assortment(
            items={record.item_id: record for record in self.catalog or ()},
            blocked=self.blocked,
            is_record_needed=self.is_record_needed,
            places=self.places,
            now_ms=now_ms,
        )


@dataclass(frozen=True, slots=True)
class CheckData:
    """Sessions that the release was not trained on; sha256: of the files that they are from, hex."""

    sessions: Sessions
    sha256: str


NO_EVIDENCE: Final = Evidence()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInputs:
    """The release, the sessions that it has not seen, and what it answered there.

    profile: of `answers`. history: the reports that count. sent: answers that belong to one of the sessions.
    """

    candidate: Contender
    sessions: Sessions
    answers: Answers
    profile: AnswerProfile
    evidence: Evidence
    assortment: Assortment
    history: Sequence[CheckReport] = ()
    sent: Sequence[RecommendationSet] = ()


class Check(Protocol):
    """One check; pure but for clocks."""

    def __call__(self, given: CheckInputs, limits: CheckThresholds) -> CheckResult:
        """Hold the release against `limits`; a failure says what, how much, against which limit, and what to do."""


def judged(
    complaints: Sequence[str], praise: str, figures: Mapping[str, float], slices: Sequence[CheckSlice] = ()
) -> CheckResult:
    """Return a pass for `praise` where there are no complaints."""
    return CheckResult(not complaints, "; ".join(complaints) or praise, dict(figures), list(slices))


def not_run(reason: str) -> CheckResult:
    """Return what is neither passed nor failed: `reason` says what is absent, and how to give it."""
    return CheckResult(None, reason)
