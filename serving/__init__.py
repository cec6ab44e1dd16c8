"""Client, batcher, breaker, fallback chain, filters, embedded model server, release watching."""
