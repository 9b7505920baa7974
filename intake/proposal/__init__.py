"""From files as people have them to a dataset.toml, with the reason of each guess."""
