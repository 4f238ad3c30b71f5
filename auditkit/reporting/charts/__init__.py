"""Charts: pure functions from plain values to SVG. Labels are escaped; the style sheet gives the colours."""
