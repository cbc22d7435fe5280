"""Volumes between the file and the model: reading, orientation, HU state, the chain, the sheet."""
