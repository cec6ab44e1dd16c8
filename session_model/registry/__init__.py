"""Registry: what every training did and which release is in use, in MLflow."""
