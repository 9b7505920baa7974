"""Parquet, read by row position and written in parts: the one reader and the one writer."""
