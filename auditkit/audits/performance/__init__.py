"""How good are its predictions, and how honest its confidence?"""
