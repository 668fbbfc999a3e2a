"""Measurements on another machine: packed, run there, collected."""
