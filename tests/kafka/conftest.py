"""Fixtures of the tests on a real broker."""

from tests.kafka.deployment import deploy, say

__all__ = ["deploy", "say"]
