"""Errors of what a caller sent; Feast's feature server answers them with 422, not with 500."""

from feast.errors import FeastError

from feast_fusion.errors import FeatureNotFoundError, SchemaError

_UNPROCESSABLE = 422


class RefusedRowsError(SchemaError, FeastError):  # type: ignore[misc]
    """Rows that cannot be stored; nothing of the call's batch is."""

    def http_status_code(self) -> int:
        """The sender has to correct the rows."""
        return _UNPROCESSABLE


class RefusedRequestError(FeatureNotFoundError, FeastError):  # type: ignore[misc]
    """A request for features that lacks a column which they are found by or computed from."""

    def http_status_code(self) -> int:
        """The sender has to correct the request."""
        return _UNPROCESSABLE
