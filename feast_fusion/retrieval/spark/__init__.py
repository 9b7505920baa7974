"""The as-of search on Spark: labels and rows sorted into ranges, each range matched on a worker."""
