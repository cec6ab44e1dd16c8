"""Merchants' rules: which of them hold for an answer (`book`), and what they make of a list (`placing`)."""
