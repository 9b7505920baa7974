"""The Feast plug-ins and the command line."""
