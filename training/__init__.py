"""Past to model: labels, point-in-time training sets, the fusion ranker."""
