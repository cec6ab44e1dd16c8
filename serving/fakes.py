"""Stand-ins without network, TensorFlow or time, for tests of every room: a model server, a release, a catalog."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemId, ItemIndex, ModelVersion
from schemas.ranking import (
    NO_INTENT,
    Candidates,
    IntentProbabilities,
    ModelInput,
    ModelOutput,
    Neighbours,
    SessionReading,
)
from schemas.records import CatalogItem, SessionEvent, Trending
from schemas.tracing import TraceContext
from serving.errors import ModelNotFoundError, ModelUnavailableError

FIRST_VERSION = ModelVersion(1)


@dataclass(frozen=True, slots=True)
class FakeCall:
    """One Predict as it arrived."""

    version: ModelVersion
    batch: tuple[ModelInput, ...]
    deadline_seconds: float
    traces: tuple[TraceContext, ...] = ()


class FakePredictor:
    """A model server that does as told.

    It answers each row with the three indices after the row's last item (scores 0.9, 0.8, 0.7; `fake_output`), unless

    - `fail_next` queued an error: the next call raises it;
    - `hold` was called: calls wait until `let_go`, however long that takes;
    - `versions` does not have the version asked for: ModelNotFoundError.
    """

    def __init__(self, versions: Collection[int] = (1,)) -> None:
        self.versions = set(map(ModelVersion, versions))
        self.reachable = True
        self.calls: list[FakeCall] = []
        self.status_calls = 0
        self._errors: deque[BaseException] = deque()
        self._open = asyncio.Event()
        self._open.set()
        self._called = asyncio.Condition()

    def fail_next(self, *errors: BaseException) -> None:
        """Raise these errors, one a call."""
        self._errors.extend(errors)

    def hold(self) -> None:
        """Keep the calls that come from now on."""
        self._open.clear()

    def let_go(self) -> None:
        """Let the held calls, and all later ones, be answered."""
        self._open.set()

    async def called(self, times: int) -> None:
        """Wait until `times` calls have arrived since the beginning."""
        async with self._called:
            await self._called.wait_for(lambda: len(self.calls) >= times)

    async def predict(
        self,
        version: ModelVersion,
        batch: Sequence[ModelInput],
        deadline_seconds: float,
        traces: Sequence[TraceContext] = (),
    ) -> list[ModelOutput]:
        """Answer the rows of `batch`; see `Predictor`."""
        self.calls.append(FakeCall(version, tuple(batch), deadline_seconds, tuple(traces)))
        async with self._called:
            self._called.notify_all()
        await self._open.wait()
        if self._errors:
            raise self._errors.popleft()
        if version not in self.versions:
            raise ModelNotFoundError(f"the fake server has no version {version}")
        return [fake_output(row) for row in batch]

    async def loaded_versions(self) -> frozenset[ModelVersion]:
        """Return the versions; ModelUnavailableError while `reachable` is False."""
        self.status_calls += 1
        if not self.reachable:
            raise ModelUnavailableError("the fake server is away")
        return frozenset(self.versions)


def fake_output(row: ModelInput) -> ModelOutput:
    """Return what `FakePredictor` answers to `row`."""
    last = int(row.items[-1])
    items = np.arange(last + 1, last + 4, dtype=np.int32)
    intent = IntentProbabilities(purchase=0.25, leave=0.125)
    return ModelOutput(Candidates(items, np.array([0.9, 0.8, 0.7], np.float32)), intent)


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeRelease:
    """A release whose items are called i1, i2, ... up to `item_count`; the index of i1 is `shift` + 1.

    kNN ranks the three indices before the last item; blending puts the model's ranking first; popular is i1, i2, i3. A
    search finds the item at the first number of the vector alone.
    """

    version: ModelVersion = FIRST_VERSION
    item_count: int = 100
    shift: int = 0
    has_labels: bool = True
    like_i1: frozenset[ItemId] = frozenset()
    created_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    told: Trending | None = None

    @property
    def trained_items(self) -> int:
        """Know all of them from training."""
        return self.shift + self.item_count

    def encode(self, events: Sequence[SessionEvent]) -> ModelInput:
        """Return the known items; the only feature is the number of events."""
        names = {f"i{number}": self.shift + number for number in range(1, self.item_count + 1)}
        known = [names[event.item_id] for event in events if event.item_id in names]
        alike = [names["i1"] for event in events if event.item_id in self.like_i1]
        items = np.array(known or alike, np.int32)
        return ModelInput(items, np.array([len(events)], np.float32), bool(alike) and not known)

    def with_catalog(self, records: Iterable[CatalogItem]) -> "FakeRelease":
        """Return a release that reads every item of the catalog that it does not know like i1."""
        return replace(self, like_i1=frozenset(record.item_id for record in records))

    def with_trending(self, told: Trending | None) -> "FakeRelease":
        """Return a release that holds what it was told."""
        return self if told is self.told else replace(self, told=told)

    @property
    def is_renewed(self) -> bool:
        """Return whether it was told anything."""
        return self.told is not None

    def neighbours(self, items: NDArray[np.int32]) -> Neighbours:
        """Rank the three indices before the last item, to which they owe it."""
        last = int(items[-1])
        found = np.arange(last - 1, max(last - 4, self.shift), -1, dtype=np.int32)
        scores, anchors = np.linspace(0.5, 0.3, len(found), dtype=np.float32), np.zeros(len(found), np.int32)
        return Neighbours(found, scores, found, anchors, np.array([last]))

    def because(self, item_ids: Sequence[ItemId], neighbours: Neighbours) -> list[ItemId | None]:
        """Return the items to which they are owed."""
        anchors = dict(zip(neighbours.voted.tolist(), neighbours.anchors.tolist(), strict=True))
        found = [anchors.get(self.index_of(item_id), -1) for item_id in item_ids]
        return [None if at < 0 else self.item_id(ItemIndex(int(neighbours.prefix[at]))) for at in found]

    def with_kept(self, candidates: Candidates, item_ids: Sequence[ItemId], bonus: float) -> Candidates:
        """Raise their scores."""
        kept = {self.index_of(item_id) for item_id in item_ids}
        pairs = zip(candidates.item_indices.tolist(), candidates.scores.tolist(), strict=True)
        again = [(index, score * math.exp(bonus) if index in kept else score) for index, score in pairs]
        again.sort(key=lambda pair: -pair[1])
        indices, scores = zip(*again, strict=True) if again else ((), ())
        return Candidates(np.array(indices, np.int32), np.array(scores, np.float32))

    def scores_of(self, candidates: Candidates, item_ids: Sequence[ItemId]) -> dict[ItemId, float]:
        """Look each one up."""
        scores = dict(zip(candidates.item_indices.tolist(), candidates.scores.tolist(), strict=True))
        return {item_id: scores[index] for item_id in item_ids if (index := self.index_of(item_id)) in scores}

    def search(
        self,
        readings: Sequence[SessionReading],
        prefixes: Sequence[NDArray[np.int32]],  # noqa: ARG002
    ) -> list[Candidates]:
        """Return one item a row."""
        return [Candidates(one.vector[:1].astype(np.int32), np.ones(1, np.float32)) for one in readings]

    def blend_many(
        self,
        models: Sequence[Candidates],
        neighbours: Sequence[Candidates],
        prefixes: Sequence[NDArray[np.int32]],  # noqa: ARG002
    ) -> list[Candidates]:
        """Put the neighbours after the model's items."""
        return [_one_after_the_other(*row) for row in zip(models, neighbours, strict=True)]

    def with_cold_items(self, ranking: Candidates) -> Candidates:
        """List none."""
        return ranking

    def popular(self) -> Candidates:
        """Return the first three items."""
        indices = np.array([1, 2, 3], np.int32) + np.int32(self.shift)
        return Candidates(indices, np.array([3.0, 2.0, 1.0], np.float32))

    def intent(self, features: NDArray[np.float32]) -> IntentProbabilities:
        """Return probabilities that grow with the number of events."""
        grown = float(features[0] / (features[0] + 9))
        return IntentProbabilities(purchase=grown, leave=grown / 2) if self.has_labels else NO_INTENT

    def knows(self, item_id: ItemId) -> bool:
        """Know i1, i2, ... up to `item_count`."""
        number = item_id.removeprefix("i")
        return item_id.startswith("i") and number.isdecimal() and 1 <= int(number) <= self.item_count

    def index_of(self, item_id: ItemId) -> ItemIndex | None:
        """Return the item's index."""
        return ItemIndex(self.shift + int(item_id.removeprefix("i"))) if self.knows(item_id) else None

    def item_id(self, index: ItemIndex) -> ItemId:
        """Return the item."""
        return ItemId(f"i{index - self.shift}")


def _one_after_the_other(model: Candidates, neighbours: Candidates) -> Candidates:
    new = ~np.isin(neighbours.item_indices, model.item_indices)
    return Candidates(
        np.concatenate([model.item_indices, neighbours.item_indices[new]]),
        np.concatenate([model.scores, neighbours.scores[new]]),
    )


@dataclass(slots=True)
class FakeCatalog:
    """A catalog in which everything is allowed but what is named here."""

    unavailable: set[str] = field(default_factory=set)
    only_at: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)
    known: Sequence[ItemId] = ()
    described: Sequence[CatalogItem] = ()
    ends: Mapping[str, int] = field(default_factory=dict)
    records_taken: int = 0
    on_sale: Mapping[str, str | None] = field(default_factory=dict)
    since_ms: Mapping[str, int] = field(default_factory=dict)

    def allowed(self, item_id: ItemId, location: str | None, now_ms: int) -> bool:
        """See `CatalogView`."""
        is_over = now_ms >= self.ends.get(item_id, now_ms + 1)
        return not is_over and item_id not in self.unavailable and self.only_at.get(item_id, location) == location

    def allowed_at(self, location: str | None, now_ms: int) -> Callable[[ItemId], bool]:
        """See `CatalogView`."""
        return partial(self.allowed, location=location, now_ms=now_ms)

    def get(self, item_id: ItemId) -> CatalogItem | None:
        """See `CatalogView`."""
        category, group = self.categories.get(item_id), self.groups.get(item_id)
        if category is None and group is None:
            return next((item for item in self.described if item.item_id == item_id), None)
        return CatalogItem(item_id=item_id, category=category, variant_group=group)

    def earliest_end_ms(self, item_ids: Iterable[ItemId], location: str | None, now_ms: int) -> int | None:
        """See `CatalogView`."""
        allowed = (item_id for item_id in item_ids if self.allowed(item_id, location, now_ms))
        return min((self.ends[item_id] for item_id in allowed if item_id in self.ends), default=None)

    def next_sale_ms(self, _item_ids: Iterable[ItemId], _now_ms: int) -> int | None:
        """See `CatalogView`; its sales have no time."""
        return None

    def variant_group(self, item_id: ItemId) -> str | None:
        """See `CatalogView`."""
        return self.groups.get(item_id)

    def is_on_sale(self, item_id: ItemId, location: str | None, _now_ms: int) -> bool:
        """See `CatalogView`."""
        return item_id in self.on_sale and self.on_sale[item_id] in {None, location}

    def available_from_ms(self, item_id: ItemId) -> int | None:
        """See `CatalogView`."""
        return self.since_ms.get(item_id)

    def category(self, item_id: ItemId) -> str | None:
        """See `CatalogView`."""
        return self.categories.get(item_id)

    def describes(self, item_id: ItemId) -> bool:
        """See `CatalogView`."""
        return any(item.item_id == item_id for item in self.described)

    @property
    def has_items(self) -> bool:
        """See `CatalogView`."""
        return bool(self.described)

    def knows_place(self, location: str) -> bool | None:
        """See `CatalogView`."""
        named = {place for item in self.described for place in item.locations or ()}
        return location in named if named else None

    def available_items(self, at_most: int, now_ms: int) -> Sequence[ItemId]:
        """See `CatalogView`."""
        return [item_id for item_id in self.known if self.allowed(item_id, None, now_ms)][:at_most]

    @property
    def revision(self) -> int:
        """See `CatalogView`."""
        return len(self.described)

    def records(self) -> Sequence[CatalogItem]:
        """See `CatalogView`."""
        return self.described
