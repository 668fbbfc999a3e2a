"""The synaptic flow (SynFlow): how it passes a network, and the search over sets of units."""
