"""How far attributions can be trusted: eight metrics, each beside attributions put in random order."""
