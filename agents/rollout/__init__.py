"""Holds a release that was just given visitors against the one before, and takes it back where it does worse."""
