"""Gradients of single rows: their norms, and weighted sums of them, without forming each one."""
