"""Items and users that arrive while the service runs: rows beside those of the files."""
