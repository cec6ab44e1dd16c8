"""Kafka for one machine: a node for tests, the embedded broker."""
