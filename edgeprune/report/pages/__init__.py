"""The pages of a report: what they say, as Markdown and as HTML."""
