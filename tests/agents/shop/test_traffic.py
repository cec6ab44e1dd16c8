"""Facts about the stream of the generated shop, at a fixed seed."""

from collections import Counter, defaultdict
from datetime import timedelta
from itertools import islice, pairwise

import msgspec
import pytest

from agents.shop.catalog import build_shelf
from agents.shop.sales import SaleCalendar
from agents.shop.settings import ShopSettings
from agents.shop.traffic import generate_events
from agents.shop.truth import GeneratedEvent
from schemas.events import ITEM_EVENT_TYPES

SETTINGS = ShopSettings()


@pytest.fixture(scope="module")
def events() -> list[GeneratedEvent]:
    """Generate the first hours of the default shop."""
    return list(islice(generate_events(SETTINGS), 50_000))


@pytest.fixture(scope="module")
def sessions(events: list[GeneratedEvent]) -> list[list[GeneratedEvent]]:
    """Gather the people's sessions by the truth, without resends, in event-time order."""
    found = defaultdict(list)
    for event in events:
        if not event.truth.is_bot and not event.truth.is_duplicate:
            found[event.click.visitor_id, event.truth.session_number].append(event)
    return [sorted(session, key=lambda event: event.click.event_time_ms) for session in found.values()]


def _lines(settings: ShopSettings, begin: timedelta = timedelta(0)) -> bytes:
    encoder = msgspec.json.Encoder()
    return encoder.encode_lines(islice(generate_events(settings, begin=begin), 3_000))


def test_equal_seeds_give_equal_bytes() -> None:
    """The settings alone decide every byte of the stream."""
    assert _lines(ShopSettings(seed=5)) == _lines(ShopSettings(seed=5))


def test_seed_and_begin_make_other_traffic() -> None:
    """Another seed or another beginning is another stream."""
    streams = {_lines(ShopSettings(seed=5)), _lines(ShopSettings(seed=6)), _lines(SETTINGS, timedelta(days=1))}
    assert len(streams) == 3


def test_events_come_in_arrival_order_and_never_before_they_happen(events: list[GeneratedEvent]) -> None:
    """Arrivals ascend, and none precedes its event time."""
    arrivals = [event.arrival_ms for event in events]
    assert arrivals == sorted(arrivals)
    assert all(event.arrival_ms >= event.click.event_time_ms for event in events)


def test_item_events_name_their_item(events: list[GeneratedEvent]) -> None:
    """An event has an item exactly if its type asks for one."""
    assert all((event.click.item_id is not None) == (event.click.event_type in ITEM_EVENT_TYPES) for event in events)


def test_popularity_has_a_long_tail(sessions: list[list[GeneratedEvent]]) -> None:
    """The top 1 % of the items draws 10 to 25 % of the views, and nearly all items are seen."""
    views = Counter(
        event.click.item_id for session in sessions for event in session if event.click.event_type == "view"
    )
    top = sum(count for _, count in views.most_common(SETTINGS.n_items // 100))
    assert 0.10 < top / views.total() < 0.25
    assert len(views) > 0.9 * SETTINGS.n_items


def test_some_sessions_buy(sessions: list[list[GeneratedEvent]]) -> None:
    """Between 5 and 9 % of the sessions hold a purchase."""
    share = sum(any(event.click.event_type == "purchase" for event in session) for session in sessions) / len(sessions)
    assert 0.05 < share < 0.09


def test_a_cart_tells_of_a_purchase(sessions: list[list[GeneratedEvent]]) -> None:
    """A cart among the first five events at least doubles the odds of a purchase after them."""
    outcomes: dict[bool, list[bool]] = {True: [], False: []}
    for session in sessions:
        if len(session) > 5:
            has_cart = any(event.click.event_type == "cart" for event in session[:5])
            outcomes[has_cart].append(session[4].truth.purchase_follows)
    with_cart, without = (sum(outcomes[key]) / len(outcomes[key]) for key in (True, False))
    assert with_cart > 2 * without
    assert with_cart < 0.9


def test_the_next_item_follows_from_the_last(sessions: list[list[GeneratedEvent]]) -> None:
    """A first-order transition model reaches at least three times the Recall@20 of popularity."""
    walks = [[e.click.item_id for e in session if e.click.event_type == "view"] for session in sessions]
    n_train = len(walks) * 3 // 4
    following: dict[object, Counter[object]] = defaultdict(Counter)
    popularity: Counter[object] = Counter()
    for walk in walks[:n_train]:
        popularity.update(walk)
        for item, successor in pairwise(walk):
            following[item][successor] += 1
    popular = {item for item, _ in popularity.most_common(20)}
    likely = {item: {other for other, _ in counts.most_common(20)} for item, counts in following.items()}
    steps = [pair for walk in walks[n_train:] for pair in pairwise(walk)]
    markov_hits = sum(successor in likely.get(item, popular) for item, successor in steps)
    assert markov_hits > 3 * sum(successor in popular for _, successor in steps)


def test_truth_looks_ahead_in_the_session(sessions: list[list[GeneratedEvent]]) -> None:
    """`purchase_follows` and `next_item_id` are what the rest of the session shows."""
    complete = [session for session in sessions if session[-1].click.event_type == "session_end"]
    assert len(complete) > 100
    for session in complete:
        for position, event in enumerate(session):
            rest = session[position + 1 :]
            views = [later.click.item_id for later in rest if later.click.event_type == "view"]
            assert event.truth.purchase_follows == any(later.click.event_type == "purchase" for later in rest)
            assert event.truth.next_item_id == (views[0] if views else None)


def test_duplicates_resend_what_was_sent(events: list[GeneratedEvent]) -> None:
    """About the asked share of the events comes again, equal and after the first."""
    seen = {}
    n_duplicates = 0
    for event in events:
        assert event.truth.is_duplicate == (event.truth.event_id in seen)
        assert seen.setdefault(event.truth.event_id, event.click) == event.click
        n_duplicates += event.truth.is_duplicate
    assert 0.8 < n_duplicates / len(events) / SETTINGS.duplicate_share < 1.2


def test_late_means_beyond_the_grace_period(events: list[GeneratedEvent]) -> None:
    """An event is late exactly if its session was more than 60 s ahead when it arrived; some come late within grace."""
    latest_ms: dict[object, int] = {}
    n_late = n_within_grace = 0
    for event in events:
        key = (event.click.visitor_id, event.truth.session_number)
        behind_ms = latest_ms.get(key, 0) - event.click.event_time_ms
        if not event.truth.is_duplicate:
            assert event.truth.is_late == (behind_ms > 60_000)
            n_late += event.truth.is_late
            n_within_grace += 0 < behind_ms <= 60_000
        latest_ms[key] = max(latest_ms.get(key, 0), event.click.event_time_ms)
    assert n_late > 30
    assert n_within_grace > 100


def test_bots_click_faster_than_people(events: list[GeneratedEvent]) -> None:
    """A bot's mean pause is under half a second, a person's over ten."""
    times = defaultdict(list)
    for event in events:
        if not event.truth.is_duplicate:
            times[event.truth.is_bot, event.click.visitor_id, event.truth.session_number].append(
                event.click.event_time_ms
            )
    spans, pauses = Counter[bool](), Counter[bool]()
    for (is_bot, *_), moments in times.items():
        spans[is_bot] += max(moments) - min(moments)
        pauses[is_bot] += len(moments) - 1
    assert spans[True] / pauses[True] < 500
    assert spans[False] / pauses[False] > 10_000


def test_visitors_rest_longer_than_the_inactivity_gap(events: list[GeneratedEvent]) -> None:
    """Two sessions of a visitor lie more than 30 minutes apart, so the true session number is by rule."""
    last: dict[str, tuple[int, int]] = {}
    n_returns = 0
    for event in events:
        number, arrival_ms = last.get(event.click.visitor_id, (event.truth.session_number, event.arrival_ms))
        if number != event.truth.session_number:
            n_returns += 1
            assert event.truth.session_number == number + 1
            assert event.click.event_time_ms - arrival_ms > 30 * 60_000
        last[event.click.visitor_id] = (event.truth.session_number, event.arrival_ms)
    assert n_returns > 100


def test_a_flash_sale_pulls_views_at_its_location(events: list[GeneratedEvent]) -> None:
    """While a sale runs at least a quarter of the views at its location are its items'; before it hardly any."""
    shelf = build_shelf(SETTINGS)
    sale = SaleCalendar(SETTINGS, shelf).between(SETTINGS.start_ms, events[-1].arrival_ms)[0]
    on_sale = set(sale.item_ids(shelf))
    during, before = Counter[bool](), Counter[bool]()
    for event in events:
        click = event.click
        at_home = click.location == SETTINGS.locations[sale.location] and not event.truth.is_bot
        if at_home and click.event_type == "view" and click.event_time_ms < sale.end_ms:
            (before if click.event_time_ms < sale.start_ms else during)[click.item_id in on_sale] += 1
    assert during[True] / during.total() > 0.25
    assert before[True] / before.total() < 0.05


def test_a_duration_bounds_when_sessions_begin() -> None:
    """With a duration the stream ends, and every session has begun inside it."""
    first: dict[object, int] = {}
    for event in generate_events(SETTINGS, timedelta(minutes=20)):
        first.setdefault((event.click.visitor_id, event.truth.session_number), event.click.event_time_ms)
    end_ms = SETTINGS.start_ms + 20 * 60_000
    assert first
    assert sum(moment < end_ms for moment in first.values()) / len(first) > 0.98
