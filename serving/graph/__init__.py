"""A graph of the catalogue's vectors on disk, built once and memory-mapped by every process."""
