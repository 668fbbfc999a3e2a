"""Output of a verdict in the formats of CI systems, one in each file. Pure: each returns text."""
