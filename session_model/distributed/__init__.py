"""A training on several workers: synchronous, and begun again from its last checkpoint when a worker is lost."""
