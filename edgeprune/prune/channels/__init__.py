"""Channels: which depend on one another, what they score, and a network without some of them."""
