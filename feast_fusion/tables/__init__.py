"""Sources and sinks that are Iceberg tables. Nothing outside of this package imports pyiceberg."""
