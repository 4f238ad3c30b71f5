"""The view model: a stored run arranged for reading. Nothing is judged and no figure is computed here."""
