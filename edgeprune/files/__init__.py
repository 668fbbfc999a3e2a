"""Files and folders as edgeprune writes them: whole or absent, and nothing of the user's touched on the way."""
