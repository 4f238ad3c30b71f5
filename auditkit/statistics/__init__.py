"""Intervals, count tables, tests, decisions."""
