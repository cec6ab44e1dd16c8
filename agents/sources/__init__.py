"""Data that lies elsewhere, brought to this machine: a topic's records, files on the Bus."""
