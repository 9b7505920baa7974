"""On-demand views of a request: found by any name they go by, computed for any number of rows."""

from collections.abc import Sequence
from copy import copy
from typing import Any

from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.transformation.python_transformation import PythonTransformation

from feast_fusion.errors import FeatureNotFoundError


def requested_on_demand(
    feature_refs: Sequence[str],
    known: Sequence[str],
    project: str,
    registry: BaseRegistry,
) -> list[OnDemandFeatureView]:
    """The on-demand views of `feature_refs`, those of a feature service by their alias too.

    Parameters
    ----------
    known : names of the other views that are asked for

    Raises
    ------
    FeatureNotFoundError
        A name is neither a view's nor an alias of a registered feature service.
    """
    found = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
    named = {*known, *(view.name for view in found)}
    asked = dict.fromkeys(reference.partition(":")[0] for reference in feature_refs)
    others = [name for name in asked if name.partition("@")[0] not in named]
    if others:
        aliased = _aliased(project, registry)
        for name in others:
            if name not in aliased:
                raise FeatureNotFoundError(
                    f"features: got {name!r}, expected the name of a view, or what a registered "
                    "feature service calls one. Apply the service, or use the view's own name."
                )
            found.append(aliased[name])
    return [row_by_row(view) for view in found]


def _aliased(project: str, registry: BaseRegistry) -> dict[str, OnDemandFeatureView]:
    """On-demand views by what feature services call them (`with_name`)."""
    views = {view.name: view for view in registry.list_on_demand_feature_views(project)}
    return {
        projection.name_alias: views[projection.name].with_projection(projection)
        for service in registry.list_feature_services(project)
        for projection in service.feature_view_projections
        if projection.name_alias and projection.name in views
    }


def row_by_row(view: OnDemandFeatureView) -> OnDemandFeatureView:
    """A view that computes all rows; Feast calls the function of a `singleton` view once."""
    if not view.singleton:
        return view
    each = copy(view)
    each.singleton = False
    function = view.feature_transformation.udf
    names = [field.name for field in view.features]

    def of_rows(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = zip(*columns.values(), strict=True)
        answers = [function(dict(zip(columns, row, strict=True))) for row in rows]
        return {name: [answer[name] for answer in answers] for name in names}

    each.feature_transformation = PythonTransformation(udf=of_rows, udf_string="")
    return each
