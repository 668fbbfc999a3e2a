"""A network at work: where it is computed."""
