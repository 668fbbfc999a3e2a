"""Labelled frames: checked, searched for duplicates, and split."""
