"""edgeprune from Python: `import edgeprune as ep`. The command line is a thin shell over the same functions.

The names are listed in `edgeprune/__init__.py`, which imports each of them on first use.
"""
