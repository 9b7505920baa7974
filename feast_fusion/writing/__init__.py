"""Text -> attributes that a language model writes: schema, writers, answers, cache."""
