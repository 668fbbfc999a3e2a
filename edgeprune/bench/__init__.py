"""Latency measurement: interleaved rounds of two models, raw samples, and statistics."""
