"""Stages: the steps of a recipe."""
