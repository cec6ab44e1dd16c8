"""The observer: one process that counts what is viewed where, and publishes what is trending."""
