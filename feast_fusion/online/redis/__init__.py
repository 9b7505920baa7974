"""Commands to Redis and their replies, within a deadline."""
