"""Metrics: predictions to scores with a protocol."""
