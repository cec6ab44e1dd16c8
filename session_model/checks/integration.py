"""Whether the workers send what the model says: answers of the topic against answers here, for the same prefix.

An answer of the topic names its session and the time of its click; with the session's end on `session-ends` its
prefix is known. Answers of lower tiers rest on more than a prefix and are left out, as are those of other releases and
those that merchants' rules changed. Of one whose scores rest on more than the release, which its `adjusted_by` tells,
only the items are compared: they are the model's, in another order.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Final, NamedTuple

from schemas.check_report import CheckResult, CheckThresholds
from schemas.events import unix_ms
from schemas.ids import ItemId, ItemIndex, SessionId
from schemas.records import RecommendationSet, RecommendedItem, SessionEvent
from session_model.checks.assortment import Assortment
from session_model.checks.contender import Contender
from session_model.checks.contract import CheckInputs, judged, not_run
from session_model.data.session_events import session_events
from session_model.data.sessions import Sessions

MOST_ANSWERS: Final = 20_000
_BATCH_SIZE: Final = 256


def answers_of(sessions: Sessions, sent: Iterable[RecommendationSet]) -> list[RecommendationSet]:
    """Take the model's answers in `sessions` out of what was sent, each once, `MOST_ANSWERS` at most."""
    known, found = set(sessions.session_ids), dict[str, RecommendationSet]()
    for one in sent:
        is_the_models = one.status == "answered" and one.tier == "model" and one.items and not one.rules
        if is_the_models and one.session_id in known:
            found.setdefault(one.id, one)
            if len(found) == MOST_ANSWERS:
                break
    return list(found.values())


def integration(given: CheckInputs, limits: CheckThresholds) -> CheckResult:
    """Ask that items, order and scores of what was sent are the model's, but for what the filters took out."""
    if given.evidence.sent is None:
        return not_run("nothing of what was sent is there to compare; give the topic with --recommendations")
    if given.sessions.times_ms is None:
        return not_run("the sessions have no times, so the prefix of an answer is not known; take session-ends")
    contenders = [one for one in (given.candidate, given.evidence.champion) if one is not None]
    by_version = {one.release.version: one for one in contenders}
    in_order, n_compared, wrong = _in_order(given.sent), 0, list[str]()
    for version, contender in by_version.items():
        of_version = (one for one in in_order if one.model_version == version)
        for answer, (location, prefix), ranking in _ranked(contender, _with_prefix(given.sessions, of_version)):
            n_compared += 1
            bought = frozenset(event.item_id for event in prefix if event.event_type == "purchase" and event.item_id)
            rules = _Rules(given.assortment, bought, location, unix_ms(answer.event_time), limits)
            if (why := rules.difference(answer, ranking, {event.item_id for event in prefix})) is not None:
                wrong.append(f"{answer.id}: {why}")
    if n_compared < limits.min_targets:
        versions = " and ".join(map(str, by_version))
        return not_run(
            f"{n_compared:,} answers of version {versions} belong to these sessions, checks.min_targets asks for "
            f"{limits.min_targets:,}; take sessions and answers of the same hours, in which one of them was live"
        )
    share = len(wrong) / n_compared
    figures = {"compared": float(n_compared), "mismatch_share": share}
    told = f"{n_compared:,} answers were compared, {len(wrong):,} differ from the model's own"
    if share <= limits.max_mismatch_share:
        return judged([], told, figures)
    complaint = (
        f"{told}: {share:.1%}, where checks.max_mismatch_share allows {limits.max_mismatch_share:.1%}; first "
        f"{wrong[0]}; "
        "do server and worker have this release, and the worker this catalog?"
    )
    return judged([complaint], "", figures)


def _in_order(sent: Iterable[RecommendationSet]) -> list[RecommendationSet]:
    """Leave out sessions in which a click came late: the times do not tell what was known at which answer."""
    by_session = defaultdict[SessionId | None, list[RecommendationSet]](list)
    for one in sent:
        by_session[one.session_id].append(one)
    found = list[RecommendationSet]()
    for answers in by_session.values():
        answers.sort(key=lambda one: one.event_time)
        if all(_offset(one) < _offset(later) for one, later in pairwise(answers)):
            found += answers
    return found


def _offset(answer: RecommendationSet) -> int:
    """Return the offset of the click that was answered, the end of the id; 0 where it has none."""
    offset = answer.id.rpartition("-")[2]
    return int(offset) if offset.isdecimal() else 0


class _Asked(NamedTuple):
    """What was known at an answer. location: where the session was seen last, and mostly before."""

    location: str | None
    prefix: Sequence[SessionEvent]


_Prefixed = tuple[RecommendationSet, _Asked]


def _with_prefix(sessions: Sessions, answers: Iterable[RecommendationSet]) -> Iterator[_Prefixed]:
    """Find the events up to the click that was answered; where two have its time, nobody knows which it was.

    Nor is the prefix known of a session whose first events were not kept.
    """
    numbers = {name: number for number, name in enumerate(sessions.session_ids)}
    for answer in answers:
        assert answer.session_id is not None
        number = numbers[answer.session_id]
        if sessions.is_cut is not None and sessions.is_cut[number]:
            continue
        at_ms, events = unix_ms(answer.event_time), session_events(sessions, number)
        if sum(event.time_ms == at_ms for event in events) == 1:
            location = None if sessions.locations is None else sessions.locations[number]
            yield answer, _Asked(location, [event for event in events if event.time_ms <= at_ms])


def _ranked(
    contender: Contender, answers: Iterator[_Prefixed]
) -> Iterator[tuple[RecommendationSet, _Asked, list[RecommendedItem]]]:
    """Rank for each prefix."""
    release = contender.release
    while batch := list(islice(answers, _BATCH_SIZE)):
        rankings = contender.answers([release.encode(asked.prefix) for _, asked in batch])
        for (answer, asked), ranking in zip(batch, rankings, strict=True):
            scored = zip(ranking.item_indices.tolist(), ranking.scores.tolist(), strict=True)
            yield answer, asked, [RecommendedItem(release.item_id(ItemIndex(index)), score) for index, score in scored]


@dataclass(frozen=True, slots=True)
class _Rules:
    """What explains that a worker left an item out of an answer: the catalog, a purchase, a variant listed before."""

    assortment: Assortment
    bought: frozenset[ItemId]
    location: str | None
    at_ms: int
    limits: CheckThresholds

    def difference(
        self, answer: RecommendationSet, ranking: Sequence[RecommendedItem], seen: Collection[ItemId | None]
    ) -> str | None:
        """Say how what was sent differs from the model's own ranking; places of equal scores may be changed.

        What the model lists above the last item sent must have been sent, or explained. seen: items of the prefix; a
        worker that repeats none of them (`serving.recommend_seen`) has left all of them out.
        """
        sent, own = answer.items, {item.item_id: item.score for item in ranking}
        if any(later.score > one.score for one, later in pairwise(sent)):
            return "the items were not sent in the order of their scores"
        for item in sent:
            if item.source == "rising":
                continue
            if item.item_id not in own:
                return f"{item.item_id} is none of the model's"
            if not answer.adjusted_by and abs(item.score - own[item.item_id]) > self.limits.score_tolerance:
                return f"{item.item_id} was sent with {item.score:.6f}, the model says {own[item.item_id]:.6f}"
        if answer.adjusted_by:
            return None
        last, were_sent = sent[-1].score + self.limits.score_tolerance, {item.item_id for item in sent}
        left_out = seen if were_sent.isdisjoint(seen) else ()
        groups = {self.assortment.group_of(item_id) for item_id in (*were_sent, *self.bought)} - {None}
        for item in ranking:
            if item.score <= last or item.item_id in were_sent or item.item_id in left_out:
                continue
            if not self._explains(item.item_id, groups):
                return f"{item.item_id} was not sent, the model ranks it above {sent[-1].item_id}"
        return None

    def _explains(self, item_id: ItemId, groups: Collection[str | None]) -> bool:
        return (
            not self.assortment.allows(item_id, self.location, self.at_ms)
            or item_id in self.bought
            or self.assortment.group_of(item_id) in groups
        )
