"""What operators do to topics: send, replay dead letters, give another key, import states."""
