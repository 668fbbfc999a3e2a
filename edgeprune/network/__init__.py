"""Networks: files, edits, tracing, and computation."""
