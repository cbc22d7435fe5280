"""Labelers: report text to labels."""
