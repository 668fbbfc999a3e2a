"""Synaptic flow (SynFlow): its propagation through a network, and the search over sets of units."""
