"""Stands in for the real package, which takes ten seconds to import."""
