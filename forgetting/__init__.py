"""Forgetting a person: everything that is kept of one, erased, proven to be gone, or given out."""
