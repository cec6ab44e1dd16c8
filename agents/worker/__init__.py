"""The worker as a process: its one composition root, what it checks, watches and serves."""
