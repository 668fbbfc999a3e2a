"""Pruning: from a network and frames to a plan of the units to keep, and the surgery that applies it."""
