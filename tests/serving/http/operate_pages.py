"""The pages under docs/operate, beside what a service really says of itself."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import yaml
from prometheus_client.parser import text_string_to_metric_families

FOLDER = Path(__file__).parents[3] / "docs" / "operate"
_SCRAPED = {"instance", "job", "le"}  # labels that Prometheus adds, and that of buckets
_OPEN = {"status"}  # labels that have values which no test has seen


class Exported:
    """The series of one scrape, and the values of their labels."""

    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))
        self.labels: dict[str, dict[str, set[str]]] = {}
        for family in self.families:
            for sample in family.samples:
                seen = self.labels.setdefault(sample.name, {})
                for name, value in sample.labels.items():
                    seen.setdefault(name, set()).add(value)

    def rows(self) -> list[str]:
        """Each metric of our own with its type and meaning, as rows of a Markdown table."""
        return [
            f"| `{_series(family)}` | {family.type} | {family.documentation} |"
            for family in sorted(self.families, key=lambda each: each.name)
            if family.name.startswith("fusion_")
        ]

    def faults(self, expression: str) -> list[str]:
        """What a PromQL expression names that is not there."""
        found, grouped = [], set()
        known = set(_SCRAPED)
        for node in _nodes(promql.parse(expression)):
            if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
                grouped |= set(node.modifier.labels)
            if isinstance(node, promql.VectorSelector):
                labels = self.labels.get(node.name)
                if labels is None:
                    found.append(f"{node.name} in {expression}")
                    continue
                known |= set(labels)
                found += _unmatched(node, labels)
        return found + [f"by ({label}) in {expression}" for label in grouped - known]


def _series(family: Any) -> str:
    return family.name + ("_total" if family.type == "counter" else "")


def _nodes(tree: Any) -> list[Any]:
    found: list[Any] = []
    promql.walk(tree, found.append)
    return found


def _unmatched(selector: Any, labels: dict[str, set[str]]) -> Iterator[str]:
    for each in selector.matchers.matchers:
        if each.name in _SCRAPED | _OPEN:
            continue
        is_there = any(re.fullmatch(each.value, value) for value in labels.get(each.name, ()))
        if not is_there:
            yield f'{selector.name}{{{each.name}="{each.value}"}}'


def alerts() -> dict[str, dict[str, Any]]:
    """Alert rules by name."""
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def panels() -> list[dict[str, Any]]:
    """Panels of the dashboard, without the titles of its rows."""
    dashboard = json.loads((FOLDER / "grafana_dashboard.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """PromQL of the dashboard and of the alerts, Grafana's variables filled in."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    asked = [text.replace("$instance", ".*").replace("$__rate_interval", "5m") for text in asked]
    return asked + [rule["expr"] for rule in alerts().values()]
