"""Losses over the step outputs of a positive and, where asked for, a negative."""
