"""Criteria that score units, one in each file."""
