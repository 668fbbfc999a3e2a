"""Scores of units, one criterion a file."""
