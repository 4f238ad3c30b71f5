"""The fit loop and checkpoints."""
