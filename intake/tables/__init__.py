"""Other people's files and databases, read as they lie there: one table each, nothing lost."""
