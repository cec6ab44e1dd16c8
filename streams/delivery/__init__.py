"""How nothing is lost: offsets, the in-order window, membership and lease of a worker."""
