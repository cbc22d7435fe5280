"""Scoring without models: tokens, label statistics, resampling, floors, tables, predictions."""
