"""Evaluations and trainings on the screen."""
