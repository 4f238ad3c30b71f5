"""Sentences that differ only in whom they are about, shown to models that read text."""
