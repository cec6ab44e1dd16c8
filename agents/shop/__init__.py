"""A seeded shop that lives: catalog, shoppers with intent, flash sales, bots, duplicates, late events; truth apart."""
