"""The report of a run: report.json for machines, report.md and report.html for people."""
