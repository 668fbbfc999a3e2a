"""Executors of exported models: one file for each runtime, with a `runtime` object."""
