"""The chart as Helm renders it."""

from collections.abc import Mapping
from typing import Any

import helm_python as helm
import yaml

from tests.deploy.places import ROOT

CHART = ROOT / "deploy" / "chart"
NO_VALUES: Mapping[str, Any] = {}


def render(values: Mapping[str, Any] = NO_VALUES, name: str = "shop") -> dict[str, dict[str, Any]]:
    """What `helm install NAME` would send, by kind of resource."""
    with helm.Chart.load(str(CHART)) as chart:
        merged = chart.merge_values(dict(values))
        chart.validate_schema(merged)
        texts = chart.render(dict(values), name=name, namespace="shops")
    found = [yaml.safe_load(text) for path, text in texts.items() if path.endswith(".yaml")]
    return {each["kind"]: each for each in found if each is not None}


def pod_of(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The specification of the pods that a resource starts."""
    spec = resource["spec"]
    if resource["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    pod: dict[str, Any] = spec["template"]["spec"]
    return pod
