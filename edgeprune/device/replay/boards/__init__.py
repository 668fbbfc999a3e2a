"""Recorded boards: a file a board, and the programs that stand in for what is installed there."""
