"""What a worker tells a shopper's intent by, in NumPy."""
