"""Backbones: image+text models with their processors."""
