"""Slow checks and timed comparisons: `make proof` and `make bench` write their figures to results."""
