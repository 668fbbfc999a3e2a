"""Channels: their dependencies, their scores, and the network without some of them."""
