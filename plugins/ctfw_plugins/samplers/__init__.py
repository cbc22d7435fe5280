"""Negative samplers: images that an anchor's report does not describe."""
