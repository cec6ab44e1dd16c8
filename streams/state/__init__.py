"""The table of visitor states: on disk, in its changelog, fenced, searched, copied."""
