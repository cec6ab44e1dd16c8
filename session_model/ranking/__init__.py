"""What a worker ranks by, in NumPy and compiled kernels."""
