"""Measuring: interleaved rounds of two models, every single time kept, and what they prove."""
