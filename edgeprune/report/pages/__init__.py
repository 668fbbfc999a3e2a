"""Pages of a report as Markdown and as HTML."""
