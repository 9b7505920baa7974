"""The parts of the Redis online store: connections, keys, values, rows and their cache."""
