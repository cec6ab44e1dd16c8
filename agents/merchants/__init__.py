"""What merchants do with their rules before and after these hold: read, examined, put, tried on a log."""
