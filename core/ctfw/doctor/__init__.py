"""What is wrong with a recipe and its data before GPU hours are spent; see `examine`."""
