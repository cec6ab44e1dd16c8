"""A training's run folder: it survives kill -9."""
