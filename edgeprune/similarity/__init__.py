"""Metrics that compare the outputs of two units for the same frames; one in each file, found by name."""
