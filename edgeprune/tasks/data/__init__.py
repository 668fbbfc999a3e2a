"""Data sets: reading, splitting, describing, converting, generating."""
