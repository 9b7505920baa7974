"""How HistoryEngine works: what to transform, the sink, and the newest row of each entity."""
