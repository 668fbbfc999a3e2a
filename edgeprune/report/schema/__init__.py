"""Schema of report.json."""
