"""edgeprune from Python: `import edgeprune as ep`. The command line is a shell over the same functions.

The names are listed in `edgeprune/__init__.py`, which imports what is behind one when it is first used.
"""
