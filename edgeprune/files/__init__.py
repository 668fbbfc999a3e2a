"""Files and folders: written whole or not at all, nothing of the user's touched, and read without trust in them."""
