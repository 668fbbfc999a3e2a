"""edgeprune: take a trained radio-signal classifier to an edge device, with proof of what it lost and gained."""

__version__ = "0.1.0"
