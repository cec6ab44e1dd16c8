"""The brokers beside the stream: topics, how they are checked, watched, read and written; groups."""
