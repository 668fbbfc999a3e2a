"""The latency gate: reports and a budget in, a verdict out."""
