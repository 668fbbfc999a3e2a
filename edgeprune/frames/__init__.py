"""Labeled frames: checked, searched for duplicates, and split."""
