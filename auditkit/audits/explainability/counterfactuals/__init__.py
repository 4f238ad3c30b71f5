"""The smallest change of a row that turns the decision about it."""
