"""Windows of time, memory, FLOPs, energy and carbon."""
