"""Many methods and settings on the same data: a grid of cells, one table, one Pareto plot."""
