"""A user's files and live events, checked: what enters, and where it lies."""
