"""Sources and sinks that are Iceberg tables. Nothing outside of this package imports pyiceberg."""

from feast_fusion.errors import extra_required

with extra_required("iceberg"):
    import pyiceberg  # noqa: F401
