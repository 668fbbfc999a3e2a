"""Recorded board that stands in for a Jetson on this machine."""
