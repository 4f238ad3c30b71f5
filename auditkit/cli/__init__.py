"""Commands, one file per verb; no logic of their own."""
