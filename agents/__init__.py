"""Thin agents, the one composition root, command line, replay and demo."""
