"""The next-item networks, in TensorFlow: what they are, how they are trained, how they are exported."""
