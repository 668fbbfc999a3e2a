"""From a network and frames to a plan of which units stay, and the surgery that follows it."""
