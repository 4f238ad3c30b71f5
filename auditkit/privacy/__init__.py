"""Differentially private training and its accounting."""
