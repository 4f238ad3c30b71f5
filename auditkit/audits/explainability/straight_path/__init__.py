"""Sums of gradients along the straight line from a baseline to an input."""
