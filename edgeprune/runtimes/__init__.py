"""What executes an exported model: one file a runtime, each with a `runtime` object."""
