"""Metrics that compare what two units make of the same frames; one file each, found by name."""
