"""Latency gate: judges reports against a budget."""
