"""How many answers a shadow has given, by the topic alone."""

from agents.settings import Settings
from streams.cluster.topic_reader import TopicReader
from streams.cluster.topics import Topic


def count_shadow_answers(settings: Settings, since_ms: int) -> int:
    """Count the records since then; one release is a shadow at a time. Raises TopicsError where no broker answers."""
    with TopicReader(settings.kafka.client_config()) as reader:
        offsets = reader.offsets_since(settings.topics.name(Topic.SHADOW), since_ms)
    return sum(map(len, offsets.values()))
