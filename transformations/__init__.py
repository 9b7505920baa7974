"""Meaning: pure functions from events and texts to features. Imports no Feast and no Redis."""
