"""Answers without a model server: the worker's recommender over a release in this process."""
