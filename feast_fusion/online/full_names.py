"""On-demand views as Feast computes them, where the answer has full names."""

from typing import Any

from feast import Field

from feast_fusion.column_names import feature_column


class FullyNamed:
    """An on-demand view whose answers are named "view__feature", whatever its mode.

    Feast looks for these names in what a view returns. A view of the pandas mode returns them;
    one of the python mode returns "feature", and Feast would leave it out of the answer.
    """

    def __init__(self, view: Any) -> None:
        self._view = view
        self._full = {
            field.name: feature_column(view.projection.name_to_use(), field.name)
            for field in view.features
        }

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)

    @property
    def schema(self) -> list[Field]:
        """The view's fields by their full names, so that their types are found."""
        return [
            Field(name=self._full.get(field.name, field.name), dtype=field.dtype)
            for field in self._view.schema
        ]

    def transform_dict(self, columns: dict[str, Any]) -> dict[str, Any]:
        """What a view of the python mode returns for `columns`."""
        computed = self._view.transform_dict(columns)
        return {self._full.get(name, name): values for name, values in computed.items()}
