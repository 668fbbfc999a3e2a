"""What report.json holds."""
