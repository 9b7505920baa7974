"""One process of a host that has the encoders, and the others that ask it."""
