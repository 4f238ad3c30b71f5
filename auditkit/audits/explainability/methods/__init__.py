"""Ways to attribute a score to the units of a row: one function, one signature, one line in the catalogue."""
