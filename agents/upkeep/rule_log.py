"""The topic of the rules, as an operator reads and writes it."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from agents.settings import Settings
from schemas import wire
from schemas.ids import RuleId
from schemas.rules import MerchantRule, RuleRecord, UnreadableRule, read_rule
from streams.cluster.topic_reader import TopicReader
from streams.cluster.topics import Topic
from streams.records import InputRecord, OutputRecord
from streams.tools.sender import Sender

_BY: Final = "author"


class RuleChange(Struct, frozen=True):
    """One record of the topic; time_ms: its timestamp, Unix milliseconds. by: who removed a rule, as they said."""

    time_ms: int
    key: bytes | None
    content: RuleRecord
    by: str = ""


class StoredRule(Struct, frozen=True):
    """What workers hold of one rule.

    rule: the last that could be read, None = there was none. refused: why the latest record cannot be read.
    """

    put_ms: int
    rule: MerchantRule | None
    refused: UnreadableRule | None = None


def read_changes(settings: Settings) -> list[RuleChange]:
    """Read every record that the topic still has, those of a rule in their order; raises TopicsError."""
    topic = settings.topics.name(Topic.MERCHANT_RULES)
    with TopicReader(settings.kafka.client_config()) as reader:
        return [
            RuleChange(record.time_ms, record.key, read_rule(record.key, record.value), _by(record))
            for record in reader.read(topic, reader.bounds(topic))
        ]


def stored_rules(changes: Iterable[RuleChange]) -> dict[RuleId, StoredRule]:
    """Return what changes come to, by rule; a refused record leaves the last good one."""
    stored: dict[RuleId, StoredRule] = {}
    for change in changes:
        content = change.content
        if isinstance(content, MerchantRule):
            stored[content.rule_id] = StoredRule(change.time_ms, content)
        elif isinstance(content, UnreadableRule):
            if content.rule_id is not None:
                last = stored.get(content.rule_id)
                stored[content.rule_id] = StoredRule(change.time_ms, None if last is None else last.rule, content)
        else:
            stored.pop(content.rule_id, None)
    return dict(sorted(stored.items()))


def put_rules(settings: Settings, rules: Iterable[MerchantRule]) -> None:
    """Write rules and wait until the brokers have them; raises SendError."""
    topic = settings.topics.name(Topic.MERCHANT_RULES)
    _send(settings, (OutputRecord(topic, rule.rule_id.encode(), wire.encode(rule)) for rule in rules))


def remove_rules(settings: Settings, rule_ids: Iterable[RuleId], by: str) -> None:
    """Write a tombstone for each, which says in a header who did; raises SendError."""
    topic, headers = settings.topics.name(Topic.MERCHANT_RULES), ((_BY, by.encode(errors="replace")),)
    _send(settings, (OutputRecord(topic, rule_id.encode(), None, headers) for rule_id in rule_ids))


def _send(settings: Settings, records: Iterable[OutputRecord]) -> None:
    sender = Sender(settings.kafka.client_config(), client_id="insession-rules")
    for record in records:
        sender.send(record)
    sender.flush()


def _by(record: InputRecord) -> str:
    return next((content.decode(errors="replace") for name, content in record.headers if name == _BY), "")
