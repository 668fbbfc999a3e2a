"""Plan under a latency budget: unit costs, and the units that fit."""
