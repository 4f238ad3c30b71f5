"""The model as a whole: which features it relies on, how they move it, and rules that stand in for it."""
