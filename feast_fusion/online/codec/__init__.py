"""Feast's values and keys as bytes, a column at a time."""
