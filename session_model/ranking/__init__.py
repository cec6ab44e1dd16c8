"""What a worker ranks by, in NumPy and one compiled kernel."""
