"""Declarations only: what `feast apply` reads."""
