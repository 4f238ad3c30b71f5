"""Other subjects derived from the baseline."""
