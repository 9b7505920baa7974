"""What one run found, on one page: the data, the features, the ranker, some answers."""
