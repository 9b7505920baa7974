"""Vectors at a place that several machines share, so that a text is encoded on one of them."""
