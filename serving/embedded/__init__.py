"""A model server in one process: TensorFlow Serving's gRPC API and life cycle for one model, without its binary."""
