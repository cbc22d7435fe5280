"""Data sets: cases, reports, labels and splits."""
