"""Filters of items: an expression over the columns of items, read safely, as a mask of rows."""
