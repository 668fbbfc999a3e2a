"""Data sets: read, split, described, converted, made."""
