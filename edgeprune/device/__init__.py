"""Devices: connection, facts, bundles and results."""
