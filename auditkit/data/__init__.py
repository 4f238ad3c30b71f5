"""Datasets, readers, built-in data, preprocessing."""
