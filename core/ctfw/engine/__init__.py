"""Building what a recipe chose and running its stages."""
