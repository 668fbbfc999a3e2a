"""Device over SSH, by the user's own OpenSSH client."""
