"""Recorded boards: one file for each, and the programs that stand in for the tools installed there."""
