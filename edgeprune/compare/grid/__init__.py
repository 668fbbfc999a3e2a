"""What is compared: the grid file, and the cells it makes."""
