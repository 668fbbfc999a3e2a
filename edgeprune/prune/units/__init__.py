"""Units: how they are found in a network, and how each can be dropped."""
