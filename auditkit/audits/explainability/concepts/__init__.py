"""Concepts: what a person would call a property of rows, and whether a model's decisions lean on it."""
