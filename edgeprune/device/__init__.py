"""Devices: how one is reached, what it is, what it is sent, and what comes back."""
