"""Synthetic frames from a recipe, in NumPy alone: modulators, a channel, noise at the true SNR in dB."""
