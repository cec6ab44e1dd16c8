"""`insession serve`: the embedded model server."""

from serving.embedded.command import command

__all__ = ["command"]
