"""Frames made from a recipe, in NumPy alone: modulators, a channel, noise in true dB."""
