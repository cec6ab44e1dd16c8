"""How fast, how large, how good: what the figures of the documents are measured with."""
