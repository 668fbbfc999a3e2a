"""edgeprune: take a trained radio-signal classifier to an edge device, with proof of what it lost and gained."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("edgeprune")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+source"
