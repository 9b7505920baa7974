"""Evaluation: the protocols, what a recommender has to beat, and the report of both."""
