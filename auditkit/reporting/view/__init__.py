"""The view model: a stored run arranged for reading. Nothing is judged here and no figure is computed anew."""
