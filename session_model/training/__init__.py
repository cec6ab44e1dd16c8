"""The steps of a training, its recipes and their search."""
