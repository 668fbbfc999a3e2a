"""Formatting of text and numbers for readers."""
