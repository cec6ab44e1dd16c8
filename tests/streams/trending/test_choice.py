import random

from schemas.ids import ItemId
from streams.trending.choice import HITS_AT, Choices, settings_of
from streams.trending.counts import PlaceCounts
from streams.trending.shares import PARENT_ONLY, Setting, Shares
from tests.streams.trending.logs import START_MS

HOUR_MS = 3_600_000


def prior(items: int = 60) -> Shares:
    """Make the shares around a place: item 0 has the most."""
    names = [ItemId(f"i{number:02d}") for number in range(items)]
    return Shares({name: (items - number) / 1830 for number, name in enumerate(names)}, top=names)


def places_own() -> PlaceCounts:
    """Count views of the items that are viewed least around the place, for a day."""
    counts = PlaceCounts(1000)
    for number in range(4800):
        counts.add(ItemId(f"i{59 - number % 25:02d}"), START_MS + number * HOUR_MS // 200, number + 1)
    return counts


def choose(views: list[str]) -> Setting:
    """Look, take in what is viewed then, and choose; several times."""
    choices, counts = Choices(), places_own()
    for _ in range(3):
        choices.look(1, "nl", counts, START_MS + 24 * HOUR_MS, prior())
        for item in views:
            choices.clicked(1, "nl", ItemId(item))
        choices.learn()
    return choices.chosen(1)


def test_a_place_that_views_its_own_items_is_believed() -> None:
    """Its own views decide, little shrunk."""
    chance = random.Random(3)
    setting = choose([f"i{59 - chance.randrange(25):02d}" for _ in range(500)])
    assert setting.strength < PARENT_ONLY
    assert places_own().at(START_MS + 24 * HOUR_MS)[:, setting.rung].sum() > setting.strength


def test_a_place_that_views_what_is_viewed_around_it_is_given_that() -> None:
    """Its own views, which were of other items, are outweighed."""
    setting = choose([f"i{number % 15:02d}" for number in range(500)])
    assert places_own().at(START_MS + 24 * HOUR_MS)[:, setting.rung].sum() < setting.strength / 3


def test_settings_are_held_apart_by_depth_and_unknown_places_say_nothing() -> None:
    """Before anything was viewed a setting in the middle is taken."""
    choices = Choices()
    first = choices.chosen(0)
    choices.clicked(2, "nowhere", ItemId("i00"))
    choices.learn()
    assert choices.chosen(0) == choices.chosen(2) == first
    choices.look(1, "nl", places_own(), START_MS + 24 * HOUR_MS, prior())
    for number in range(HITS_AT):
        choices.clicked(1, "nl", ItemId(f"i{number:02d}"))
    choices.learn()
    assert choices.chosen(2) == first != choices.chosen(1)


def test_what_was_learned_is_gone_on_from() -> None:
    """What was stored for other settings is left out."""
    choices = Choices()
    choices.look(1, "nl", places_own(), START_MS + 24 * HOUR_MS, prior())
    for number in range(HITS_AT):
        choices.clicked(1, "nl", ItemId(f"i{number:02d}"))
    choices.learn()
    again = Choices()
    again.restore(choices.stored() | {0: [1.0, 2.0]})
    assert again.chosen(1) == choices.chosen(1)
    assert again.chosen(0) == Choices().chosen(0)
    assert len(settings_of(0)) == len(set(settings_of(0)))
    assert len(settings_of(1)) <= 64  # a bit each
