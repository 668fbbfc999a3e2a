"""Measurements on another machine: packing, running, collecting."""
