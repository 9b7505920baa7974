"""Model to answer: candidates, features from Redis, top N."""
