"""Each check passes a good release, and fails one that was broken on purpose, for that reason and with what to do."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from schemas.check_report import CheckReport, CheckResult, CheckThresholds
from schemas.errors import InsessionError
from schemas.events import from_unix_ms
from schemas.ids import EventId, ItemId, ItemIndex, ModelVersion, RuleId, VisitorId
from schemas.records import CatalogItem, RecommendationOutcome, RecommendationSet, RecommendedItem
from session_model.checks.contender import Contender
from session_model.checks.contract import CheckData, Evidence
from session_model.checks.run import CHECKS, run_checks
from session_model.checks.slices import MOST_LOCATIONS
from session_model.data.session_events import session_events
from session_model.data.training_overlap import TrainedSessions
from tests.session_model.checks.shop import (
    ITEM_IDS,
    START_MS,
    Blinkered,
    Guessing,
    Knowing,
    Normalised,
    Slow,
    contender,
    sessions,
)

NOW = datetime(2026, 2, 1, tzinfo=UTC)
DATA = CheckData(sessions(250, seed=2), "0" * 64)
LIMITS = CheckThresholds(max_p99_ratio=20.0)
"""Of two contenders that are equally fast; a busy machine may make one of them wait."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Contender:
    """Make a release that knows the shop."""
    return contender(tmp_path_factory.mktemp("good"), Knowing())


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Contender:
    """Make its predecessor, which knows as much."""
    return contender(tmp_path_factory.mktemp("champion"), Knowing(), version=7)


@pytest.fixture(scope="module")
def before(champion: Contender) -> CheckReport:
    """Check the predecessor, a day before."""
    return checked(champion, made_at=NOW - timedelta(days=1))


@pytest.fixture(scope="module")
def passed(good: Contender, champion: Contender, before: CheckReport) -> CheckReport:
    """Check the good release with everything that there is to hold it against."""
    evidence = Evidence(
        champion=champion, catalog=catalog(), outcomes=outcomes(0.7), sent=sent(champion), history=[before]
    )
    return checked(good, evidence)


def checked(one: Contender, evidence: Evidence | None = None, *, made_at: datetime = NOW, **limits: Any) -> CheckReport:
    """Run all checks."""
    changed = msgspec.structs.replace(LIMITS, **limits)
    return run_checks(one, DATA, Evidence() if evidence is None else evidence, changed, made_at=made_at)


def catalog(**fields: Any) -> list[CatalogItem]:
    """Describe every item; of two categories."""
    return [
        CatalogItem(item_id=item_id, category=f"{'odd' if number % 2 else 'even'}/x", price=10.0, **fields)
        for number, item_id in enumerate(ITEM_IDS)
    ]


def outcomes(hit_rate: float, version: int = 7, *, n: int = 1000, days_ago: int = 0) -> list[RecommendationOutcome]:
    """Make clicks after answers, of which so many were on an item of the answer, and purchases alike."""
    return [
        RecommendationOutcome(
            id=f"{version}-{days_ago}-{number}-{action}",
            recommendation_id="r",
            visitor_id=VisitorId("v"),
            session_id=DATA.sessions.session_ids[0],
            event_id=EventId("e"),
            event_time=NOW - timedelta(days=days_ago, minutes=1),
            action=action,
            item_id=ITEM_IDS[0],
            position=1 if number < hit_rate * n else None,
            tier="model",
            model_version=ModelVersion(version),
            delay_ms=1,
        )
        for number in range(n)
        for action in ("click", "purchase")
    ]


def sent(one: Contender) -> list[RecommendationSet]:
    """Answer every click of the sessions, as a worker would that has this release."""
    found = []
    for number, name in enumerate(DATA.sessions.session_ids):
        events = session_events(DATA.sessions, number)
        rows = [one.release.encode(events[: place + 1]) for place in range(len(events))]
        for event, ranking in zip(events, one.answers(rows), strict=True):
            pairs = zip(ranking.item_indices.tolist(), ranking.scores.tolist(), strict=True)
            found.append(
                RecommendationSet(
                    id=f"{name}-{event.time_ms}",
                    status="answered",
                    visitor_id=VisitorId("v"),
                    event_id=EventId("e"),
                    event_time=from_unix_ms(event.time_ms),
                    session_id=name,
                    items=[RecommendedItem(one.release.item_id(ItemIndex(item)), score) for item, score in pairs],
                    tier="model",
                    model_version=one.release.version,
                )
            )
    return found


def failure(report: CheckReport, name: str) -> str:
    """Return why a check failed."""
    result = report.checks[name]
    assert result.passed is False, result
    return result.reason


def test_a_good_release_passes_every_check(passed: CheckReport) -> None:
    """With figures, and words about them."""
    assert {name: result.reason for name, result in passed.checks.items() if not result.passed} == {}
    assert list(passed.checks) == list(CHECKS)
    assert (passed.version, passed.against, passed.failed) == (8, 7, {})
    hold_out = passed.checks["hold_out"].figures
    assert hold_out["recall_at_20"] > 0.8
    assert 0 < hold_out["missing_targets"] < 0.1 * hold_out["targets"]
    assert hold_out["missing_mrr_at_20"] < hold_out["mrr_at_20"], "what comes after the next click is harder to tell"


def test_a_report_is_read_back_as_it_was_written(passed: CheckReport) -> None:
    """The next days need it."""
    assert msgspec.json.decode(msgspec.json.encode(passed), type=CheckReport) == passed


def test_what_has_nothing_to_compare_with_is_not_run(good: Contender) -> None:
    """It is no pass, and it says what to give."""
    report = checked(good)
    absent = {name: result.reason for name, result in report.checks.items() if result.passed is None}
    assert list(absent) == ["self_drift", "metric_drift", "integration", "latency", "guardrails"]
    options = ("--out", "--outcomes", "--recommendations", "--against", "--catalog")
    assert all(option in reason for option, reason in zip(options, absent.values(), strict=True))
    assert report.failed == {}


def test_a_release_that_lost_what_the_champion_knew_is_refused(tmp_path: Path, champion: Contender) -> None:
    """By how much, and below which floors."""
    report = checked(contender(tmp_path, Guessing()), Evidence(champion=champion), min_recall_at_20=0.9)
    reason = failure(report, "hold_out")
    assert "below checks.min_recall_at_20 = 0.9, and 0% of the clicks are on items that it does not know" in reason
    assert "where checks.max_loss allows 3.0%" in reason
    assert "missing_recall_at_20" in reason


def test_too_few_clicks_show_nothing(good: Contender) -> None:
    """A tiny day promotes nobody; one without a session of two clicks is an error."""
    tiny = CheckData(DATA.sessions.latest(20), "0" * 64)
    assert "take data of more days" in failure(run_checks(good, tiny, made_at=NOW), "hold_out")
    single = replace(DATA.sessions, starts=DATA.sessions.starts[:2], session_ids=DATA.sessions.session_ids[:1])
    with pytest.raises(InsessionError, match="no whole session of two clicks"):
        run_checks(good, CheckData(replace(single, starts=single.starts[:1].repeat(2)), "0"), made_at=NOW)


def test_a_release_behind_a_plain_list_is_refused(tmp_path: Path) -> None:
    """A network that guesses is worse than what it takes no network for."""
    reason = failure(checked(contender(tmp_path, Guessing())), "baselines")
    assert "over all clicks the linear list reaches" in reason
    assert "over all clicks the untrained list reaches" in reason


def test_a_segment_that_is_served_worse_is_named(tmp_path: Path) -> None:
    """Ahead over all clicks, and behind in one category; few clicks are named, not judged."""
    described = [
        CatalogItem(item_id=item_id, category="hidden" if number < Blinkered.HIDDEN else "seen")
        for number, item_id in enumerate(ITEM_IDS)
    ]
    one = contender(tmp_path, Blinkered())
    limits = {"min_slice_targets": 100, "item_slice_tolerance": 0.9}
    tolerant = checked(one, Evidence(catalog=described), **limits).checks["baselines"]
    assert {part.verdict for part in tolerant.slices if part.part == "hidden"} == {"weak"}
    assert "weak on " in tolerant.reason
    result = checked(one, Evidence(catalog=described), min_slice_targets=100).checks["baselines"]
    assert result.passed is False
    assert "over all clicks" not in result.reason
    assert "on category hidden (" in result.reason
    verdicts = {part.part: part.verdict for part in result.slices if part.kind == "category"}
    assert verdicts == {"seen": "good", "hidden": "lost"}
    lenient = checked(one, Evidence(catalog=described), min_slice_targets=100_000).checks["baselines"]
    assert {part.verdict for part in lenient.slices} == {"few"}
    assert lenient.passed is True


def test_answers_unlike_those_of_the_days_before_are_refused(tmp_path: Path, before: CheckReport) -> None:
    """Items and scores; reports of the release itself, of long ago and of refused releases are nothing to go by."""
    odd = contender(tmp_path, Guessing())
    assert "the items listed diverge by" in failure(checked(odd, Evidence(history=[before])), "self_drift")
    refused = msgspec.structs.replace(before, checks={"size": CheckResult(passed=False, reason="large")})
    own = msgspec.structs.replace(before, version=odd.release.version)
    old = msgspec.structs.replace(before, made_at=NOW - timedelta(days=8))
    assert checked(odd, Evidence(history=[refused, own, old])).checks["self_drift"].passed is None


def test_scores_that_shift_are_drift(good: Contender, before: CheckReport) -> None:
    """The same items with other scores: a reader's threshold on them would no longer hold."""
    scores = before.profile.score_shares[::-1]
    profile = msgspec.structs.replace(before.profile, score_shares=scores, personal_share=0.5)
    shifted = msgspec.structs.replace(before, profile=profile)
    reason = failure(checked(good, Evidence(history=[shifted])), "self_drift")
    assert "have shifted by an index of" in reason
    assert "know an item of the session has changed by 0.500" in reason
    assert "diverge" not in reason


def test_a_live_hit_rate_far_from_the_offline_one_is_refused(good: Contender, champion: Contender) -> None:
    """Whoever measures one thing and lives by another promotes at random."""
    evidence = Evidence(champion=champion, outcomes=outcomes(0.1), catalog=catalog())
    assert "checks.min_live_ratio and checks.max_live_ratio allow" in failure(checked(good, evidence), "metric_drift")


def test_outcomes_count_once_and_of_known_versions_only(good: Contender, champion: Contender) -> None:
    """The topic is written at least once; a version that nobody measured tells nothing."""
    few = outcomes(0.7, n=300)
    evidence = Evidence(champion=champion, outcomes=[*few, *few, *outcomes(0.7, version=3)])
    result = checked(good, evidence).checks["metric_drift"]
    assert result.passed is None
    assert result.reason.startswith("300 clicks")


def test_a_metric_that_ranks_releases_the_wrong_way_round_is_refused(good: Contender, before: CheckReport) -> None:
    """The better offline, the worse live, over six versions."""
    recalls = {version: 0.5 + 0.05 * version for version in range(1, 7)}
    history = [
        msgspec.structs.replace(
            before, version=version, checks={"hold_out": CheckResult(True, "", {"recall_at_20": recall})}
        )
        for version, recall in recalls.items()
    ]
    live = [one for version in recalls for one in outcomes(0.9 - 0.05 * version, version)]
    reason = failure(checked(good, Evidence(history=history, outcomes=live)), "metric_drift")
    assert "correlate by -1.00" in reason


def test_a_last_day_that_falls_is_refused(good: Contender, champion: Contender) -> None:
    """Clicks on what was listed, and the revenue of it, against the days before."""
    days = [*outcomes(0.8, days_ago=2), *outcomes(0.8, days_ago=1), *outcomes(0.3)]
    evidence = Evidence(champion=champion, outcomes=days, catalog=catalog())
    reason = failure(checked(good, evidence), "metric_drift")
    assert "the live hit rate of the last day is 0.3000, 0.8000 before" in reason
    assert "30.0% of the last day's revenue stood in an answer, 80.0% before" in reason


def changed_answers(one: Contender, **fields: Any) -> Sequence[RecommendationSet]:
    """Change the first item of every answer that was sent."""
    return [
        msgspec.structs.replace(answer, items=[msgspec.structs.replace(answer.items[0], **fields), *answer.items[1:]])
        for answer in sent(one)
    ]


def test_what_was_sent_and_is_not_the_models_is_refused(good: Contender) -> None:
    """Other scores, other items, or an item left out for which nothing is a reason."""
    cases = {
        "the model says": changed_answers(good, score=0.9),
        "is none of the model's": changed_answers(good, item_id=ItemId("strange")),
        "was not sent, the model ranks it above": [
            msgspec.structs.replace(answer, items=answer.items[1:]) for answer in sent(good)
        ],
    }
    for why, answers in cases.items():
        reason = failure(checked(good, Evidence(sent=answers)), "integration")
        assert why in reason
        assert "where checks.max_mismatch_share allows 3.0%" in reason


def test_what_the_filters_took_out_is_no_difference(good: Contender) -> None:
    """An item that may not be sold is absent for a reason; nor is what rules, other tiers or versions made compared."""
    gone = ITEM_IDS[10]
    filtered = [
        msgspec.structs.replace(answer, items=[item for item in answer.items if item.item_id != gone])
        for answer in sent(good)
    ]
    cheap = [msgspec.structs.replace(one, tier="popular", id=f"{one.id}-p") for one in changed_answers(good, score=9.0)]
    ruled = [
        msgspec.structs.replace(one, rules=[RuleId("r")], id=f"{one.id}-r") for one in changed_answers(good, score=9.0)
    ]
    result = checked(good, Evidence(sent=[*filtered, *cheap, *ruled], catalog=[], blocked=frozenset({gone})))
    assert result.checks["integration"].passed is True
    assert result.checks["integration"].figures["mismatch_share"] == 0
    late = [msgspec.structs.replace(one, id=f"clickstream-0-{9999 - n}") for n, one in enumerate(filtered)]
    assert checked(good, Evidence(sent=late)).checks["integration"].passed is None
    unknown = [msgspec.structs.replace(one, model_version=ModelVersion(3)) for one in filtered]
    assert checked(good, Evidence(sent=unknown)).checks["integration"].passed is None


def test_of_answers_that_rest_on_more_than_the_release_only_the_items_are_compared(good: Contender) -> None:
    """Where an observer runs these are all of them: other scores, another order, and what rises at the place."""
    rising = RecommendedItem(ItemId("risen"), 2.0, source="rising")
    adjusted = [
        msgspec.structs.replace(
            one,
            items=[rising, *(RecommendedItem(item.item_id, 1 / at) for at, item in enumerate(one.items[::-1], 1))],
            adjusted_by=["viewed", "rising"],
        )
        for one in sent(good)
    ]
    assert checked(good, Evidence(sent=adjusted)).checks["integration"].figures["mismatch_share"] == 0
    strange = [
        msgspec.structs.replace(one, items=[*one.items[:5], RecommendedItem(ItemId("strange"), 0.0)])
        for one in adjusted
    ]
    assert "strange is none of the model's" in failure(checked(good, Evidence(sent=strange)), "integration")


def test_a_worker_that_repeats_no_item_of_the_session_leaves_out_all_of_them(good: Contender) -> None:
    """That is a setting; one that leaves out some of them has another release."""
    seen = {name: set[ItemId | None]() for name in DATA.sessions.session_ids}
    for number, name in enumerate(DATA.sessions.session_ids):
        seen[name] = {event.item_id for event in session_events(DATA.sessions, number)}
    given = [one for one in sent(good) if one.session_id is not None]
    unrepeated = [
        msgspec.structs.replace(one, items=[item for item in one.items if item.item_id not in seen[one.session_id]])
        for one in given
    ]
    last = {one.session_id: one for one in unrepeated if one.items}  # of these the whole session is the prefix
    limits = msgspec.structs.replace(LIMITS, min_targets=10)
    result = run_checks(good, DATA, Evidence(sent=list(last.values())), limits, made_at=NOW).checks["integration"]
    assert result.figures["mismatch_share"] == 0


def test_what_is_not_sold_where_the_shopper_is_is_no_difference(good: Contender) -> None:
    """A worker leaves it out there, and there alone."""
    away = ITEM_IDS[10]
    described = [msgspec.structs.replace(one, locations=["Rome"]) if one.item_id == away else one for one in catalog()]
    filtered = [
        msgspec.structs.replace(answer, items=[item for item in answer.items if item.item_id != away])
        for answer in sent(good)
    ]
    evidence = Evidence(sent=filtered, catalog=described)
    found = {}
    for place in ("Rome", "Paris"):
        there = CheckData(replace(DATA.sessions, locations=[place] * len(DATA.sessions)), DATA.sha256)
        result = run_checks(good, there, evidence, LIMITS, made_at=NOW).checks["integration"]
        found[place] = result.figures["mismatch_share"]
    assert found["Paris"] == 0 < found["Rome"]


def test_answers_in_sessions_whose_beginning_was_not_kept_are_not_compared(good: Contender) -> None:
    """Nobody knows their prefix."""
    half = np.arange(len(DATA.sessions)) % 2 == 0
    cut = CheckData(replace(DATA.sessions, is_cut=half), DATA.sha256)
    answers = sent(good)
    wrong = {name for name, is_cut in zip(cut.sessions.session_ids, half.tolist(), strict=True) if is_cut}
    given = [msgspec.structs.replace(one, items=one.items[::-1]) if one.session_id in wrong else one for one in answers]
    result = run_checks(good, cut, Evidence(sent=given), LIMITS, made_at=NOW).checks["integration"]
    assert result.figures["mismatch_share"] == 0
    assert result.figures["compared"] == sum(one.session_id not in wrong for one in answers)


def test_a_slow_release_is_refused(tmp_path: Path, champion: Contender) -> None:
    """Against the champion on the same machine."""
    report = checked(contender(tmp_path, Slow()), Evidence(champion=champion), max_p99_ratio=3.0)
    assert "times, where checks.max_p99_ratio allows 3" in failure(report, "latency")


def test_a_large_release_is_refused(good: Contender, champion: Contender) -> None:
    """By bytes, and by how much it has grown."""
    reason = failure(checked(good, Evidence(champion=champion), max_release_bytes=1000, max_size_ratio=0.5), "size")
    assert "checks.max_release_bytes allows 1,000" in reason
    assert "1.0 times the champion's, where checks.max_size_ratio allows 0.5" in reason


def test_a_release_that_lists_what_may_not_be_sold_is_refused(good: Contender) -> None:
    """Though the filters take it out: the lists get short."""
    gone = [msgspec.structs.replace(one, available=number % 2 == 0) for number, one in enumerate(catalog())]
    reason = failure(checked(good, Evidence(catalog=gone, sent=sent(good))), "guardrails")
    assert "of the places hold items that the catalog or serving.excluded_items forbids" in reason
    assert "of the answers have fewer than 20 items when the filters are done" in reason
    assert "items that were sent may not be sold" in reason
    needed = checked(good, Evidence(catalog=catalog()[:30], is_record_needed=True))
    assert "forbids" in failure(needed, "guardrails")


def test_a_category_that_is_left_out_is_named(tmp_path: Path) -> None:
    """Shoppers click in it, and no list has it."""
    described = [
        CatalogItem(item_id=item_id, category="listed" if number < 20 else "left out")
        for number, item_id in enumerate(ITEM_IDS)
    ]
    report = checked(contender(tmp_path, Guessing()), Evidence(catalog=described))
    assert "category left out has 0.0% of the places" in failure(report, "guardrails")


def test_what_the_filters_take_out_is_no_place_and_covers_nothing(good: Contender) -> None:
    """A category that is listed and may not be sold has no shopper; the profile is of the lists as they are."""
    described = [
        CatalogItem(item_id=item_id, category="gone" if number < 20 else "sold", available=number >= 20)
        for number, item_id in enumerate(ITEM_IDS)
    ]
    report = checked(good, Evidence(catalog=described))
    places = {one.part: one.figures["places_share"] for one in report.checks["guardrails"].slices}
    assert places == {"gone": 0.0, "sold": 1.0}
    assert report.checks["coverage"].figures["coverage_at_20"] == pytest.approx(40 / 60)
    assert report.profile == checked(good).profile


def test_lists_that_are_all_alike_are_refused(tmp_path: Path, champion: Contender) -> None:
    """A floor of its own, and against the champion."""
    report = checked(contender(tmp_path, Guessing()), Evidence(champion=champion), min_coverage=0.5)
    reason = failure(report, "coverage")
    assert "the lists hold 33.3% of the items that they could, below checks.min_coverage = 50.0%" in reason
    assert "the champion's 100.0%; checks.min_coverage_ratio asks for 0.8 times" in reason


def test_answers_that_depend_on_their_batch_are_refused(tmp_path: Path) -> None:
    """Offline figures would be those of a batch that no shopper is in."""
    reason = failure(checked(contender(tmp_path, Normalised())), "leak")
    assert "answers change when the rows are split" in reason
    assert "shuffled" not in reason, "the batch has the same rows then"


def test_sessions_that_were_trained_on_are_refused(tmp_path: Path) -> None:
    """They measure memory."""
    trained = TrainedSessions.fit(DATA.sessions, ("view",))
    report = checked(contender(tmp_path, Knowing(), sessions=trained))
    assert "100% of " in failure(report, "leak")
    assert "take those of after the training" in failure(report, "leak")


def test_slices_are_by_length_popularity_age_hour_and_category(passed: CheckReport) -> None:
    """Each with what everybody reached; the data begin at noon and go on for eight hours."""
    slices = passed.checks["baselines"].slices
    kinds = dict.fromkeys(one.kind for one in slices)
    assert list(kinds) == ["session length", "popularity", "item age", "prefix", "hour", "category"]
    assert [one.part for one in slices if one.kind == "hour"] == ["12-18 h", "18-24 h"]
    assert {one.part for one in slices if one.kind == "category"} == {"odd", "even"}
    who = {name.partition(".")[0] for one in slices for name in one.figures}
    assert who == {"candidate", "champion", "linear", "untrained"}
    assert START_MS % 86_400_000 == 12 * 3_600_000


def test_slices_are_by_location_where_the_data_have_one(good: Contender) -> None:
    """The most frequent ones, the others together; who was seen nowhere is in none."""
    n = len(DATA.sessions)
    places = [None if number % 10 == 0 else f"city {number % 20 % 15}" for number in range(n)]
    data = CheckData(replace(DATA.sessions, locations=places), DATA.sha256)
    slices = [one for one in run_checks(good, data, made_at=NOW).checks["baselines"].slices if one.kind == "location"]
    assert len(slices) == MOST_LOCATIONS + 1
    assert {one.part for one in slices} <= {*places, "others"}
    assert 0 < sum(one.targets for one in slices) < sum(DATA.sessions.starts[1:] - DATA.sessions.starts[:-1] - 1)
