"""Which training rows stand behind a prediction."""
