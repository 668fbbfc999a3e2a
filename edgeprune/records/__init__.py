"""Frozen records that cross a stage, and the names they share: plain values only."""
