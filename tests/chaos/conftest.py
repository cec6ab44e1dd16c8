"""Fixtures of the chaos tests."""

from tests.kafka.deployment import deploy, say

__all__ = ["deploy", "say"]
