"""A plan under a latency budget: what units cost, and which of them fit."""
