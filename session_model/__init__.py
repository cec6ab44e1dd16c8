"""Data sets and their formats, GRU, kNN, intent, training, evaluation, releases."""
