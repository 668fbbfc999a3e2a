"""The report of a comparison: figures, table, pages and plots."""
