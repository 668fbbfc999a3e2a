"""The grid file and the studies that ship."""
