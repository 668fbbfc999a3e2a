"""Networks that can be trained by name, one family a file."""
