"""How PointInTimeOfflineStore works: entity rows, the as-of search, values gathered last."""
