"""A release on disk and in memory."""
