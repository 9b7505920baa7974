"""Rows of Redis kept in this process, for as long as Redis says that they hold."""
