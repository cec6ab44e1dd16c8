"""Kafka: app factory, strict consumer, table, topics, window, sessionizer, dead letters, embedded broker."""
