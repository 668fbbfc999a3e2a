"""Latency of models on this machine."""
