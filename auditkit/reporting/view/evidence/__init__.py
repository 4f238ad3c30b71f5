"""Evidence for reading: each kind becomes a chart and the table behind it."""
