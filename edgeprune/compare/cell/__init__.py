"""One cell of a comparison: its settings, its stages and their results."""
