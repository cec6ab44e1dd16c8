"""The live page: sessions as they happen, for whoever looks on at a worker's web port."""
