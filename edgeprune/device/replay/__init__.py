"""A recorded board that plays a Jetson on this machine."""
