"""Field mapping: how a shop's own records become clicks, stated in settings instead of code (docs/mapping.md).

[clickstream.mapping]
format = "segment"
[clickstream.mapping.paths]
item_id = ["properties.products[].sku", "properties.sku"]
[clickstream.mapping.values.event_type]
"Bundle Viewed" = "view"
"* Clicked" = "ignore"
"""

from collections.abc import Iterator, Mapping
from typing import Literal, get_args

from msgspec import Struct, field

from schemas.errors import UsageError
from schemas.events import EVENT_TYPES, ClickEvent
from schemas.mapping_language import Paths, check_fields, parsed
from schemas.times import TimeFormat, TimeReader

FIELDS: tuple[str, ...] = ClickEvent.__struct_fields__
IGNORE = "ignore"
"""What a value map makes of an event type that is not for us: counted, no dead letter."""
REJECT = "reject"
"""What a value map makes of an event type that should not be there: a dead letter."""
MAX_RULES = 100

Format = Literal[
    "insession",
    "segment",
    "rudderstack",
    "posthog",
    "amplitude",
    "mixpanel",
    "ga4",
    "snowplow",
    "xdm",
    "matomo",
    "shopify",
    "woocommerce",
    "commercetools",
    "cloudevents",
    "debezium",
]
_SECTION = "clickstream.mapping"


class Rule(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Other places for some records: of the rules whose `when` holds, the first one counts.

    when: By path, the text of the value there; `*` stands for anything that is there. All must hold.
    paths, constants: As in the mapping, instead of what it says of these fields.
    """

    when: dict[str, str]
    paths: dict[str, Paths] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)


class FieldMapping(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where each field of a click is found in the shop's records.

    format: Whose records they are, see docs/mapping.md; what is stated beside it goes before. `insession`: a field is
        looked up by its name.
    events: Path to the list of events in a record that holds several; a JSON list and a document a line need none.
    paths: By field, where it is: a path, or several of which the first that leads to something counts.
    constants: By field, what it is where no path leads to anything.
    values: By field, what a shop's value is called here; `*` in it stands for any text. An event type may become
        `ignore` or `reject`.
    time_format: Of the event time: `auto`, `rfc3339`, `unix_s`, `unix_ms`, `unix_us`, `unix_ns`, or a pattern like
        `%d.%m.%Y %H:%M`.
    time_zone: Of times that name no offset, as in `Europe/Amsterdam`.
    rules: A list of tables with `when`, `paths` and `constants`: other places for some records.
    """

    format: Format = "insession"
    events: str | None = None
    paths: dict[str, Paths] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    time_format: TimeFormat | None = None
    time_zone: str = "UTC"
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a mapping that names what does not exist."""
        if self.format not in get_args(Format):
            raise UsageError(f"clickstream.mapping.format: {self.format!r} is none of {', '.join(get_args(Format))}")
        for name, paths in (("paths", self.paths), *self._in_rules("paths")):
            _check_fields(name, paths)
            for of, one in paths.items():
                parsed(one, f"{_SECTION}.{name}.{of}")
        for name, constants in (("constants", self.constants), *self._in_rules("constants")):
            _check_fields(name, constants)
        _check_fields("values", self.values)
        self._check_event_types()
        if self.events is not None:
            parsed(self.events, f"{_SECTION}.events")
        self._check_rules()
        try:
            TimeReader(self.time_format or "auto", self.time_zone)
        except ValueError as error:
            raise UsageError(f"clickstream.mapping.time_format and time_zone: {error}") from error

    @property
    def is_identity(self) -> bool:
        """Return whether the shop writes clicks as they are."""
        return self == FieldMapping()

    def _in_rules(self, part: str) -> Iterator[tuple[str, Mapping[str, Paths]]]:
        return ((f"rules {number}.{part}", getattr(rule, part)) for number, rule in enumerate(self.rules, 1))

    def _check_event_types(self) -> None:
        known = sorted(EVENT_TYPES | {IGNORE, REJECT})
        for theirs, ours in self.values.get("event_type", {}).items():
            if ours not in known:
                raise UsageError(f"clickstream.mapping.values.event_type.{theirs}: {ours!r} is none of {known}")
        for name, constants in (("constants", self.constants), *self._in_rules("constants")):
            if constants.get("event_type", IGNORE) not in known:
                raise UsageError(
                    f"clickstream.mapping.{name}.event_type: {constants['event_type']!r} is none of {known}"
                )

    def _check_rules(self) -> None:
        if len(self.rules) > MAX_RULES:
            raise UsageError(
                f"clickstream.mapping.rules: {len(self.rules)} rules, at most {MAX_RULES} are looked through"
            )
        for number, rule in enumerate(self.rules, 1):
            if not rule.when:
                raise UsageError(f"clickstream.mapping.rules {number}: `when` is empty; state these beside the rules")
            for path in rule.when:
                parsed(path, f"{_SECTION}.rules {number}.when")


def _check_fields(table: str, named: Mapping[str, object]) -> None:
    check_fields(named, FIELDS, f"{_SECTION}.{table}", "a click")
