"""Files and folders: written whole or not at all, never overwriting foreign files, and read without trust."""
