"""The gap in mean score between groups, divided among the inputs."""
