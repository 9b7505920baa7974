"""The chart, rendered by Helm's own library and checked against Kubernetes' own schemas."""

from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest

from tests.deploy.rendered_chart import CHART, pod_of, render

KINDS = {
    "CronJob",
    "Deployment",
    "HorizontalPodAutoscaler",
    "Job",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "Service",
}
# The oldest that its makers still look after, and the newest that the package has.
VERSIONS = ("1.34", kubernetes_validate.latest_version())
STARTING_PODS = ("Deployment", "Job", "CronJob")
SWITCHED_OFF: dict[str, Any] = {
    "autoscaling": {"enabled": False},
    "home": {"existingClaim": "mine"},
    "refresh": {"enabled": False},
    "run": {"enabled": False},
}
EVERYTHING: dict[str, Any] = {
    "env": {"FUSION_MODELS": "s3://models"},
    "home": {"storageClass": "shared"},
    "image": {"pullSecrets": [{"name": "registry"}], "tag": "9.9.9"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
}


def test_helm_finds_nothing_to_correct() -> None:
    report = helm.lint(str(CHART), strict=True)
    found = [each["error"] for each in report["messages"] if each["severity"] > 1]
    assert report["total_charts_linted"] == 1
    assert [*found, *report["errors"]] == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", [{}, SWITCHED_OFF, EVERYTHING], ids=["default", "off", "all"])
def test_kubernetes_takes_every_resource(values: dict[str, Any], version: str) -> None:
    resources = render(values)
    left_out = {"CronJob", "Job", "HorizontalPodAutoscaler", "PersistentVolumeClaim"}
    assert set(resources) == (KINDS - left_out if values is SWITCHED_OFF else KINDS)
    for resource in resources.values():
        kubernetes_validate.validate(resource, version, strict=True)


def test_the_schemas_refuse_a_key_that_is_not_there() -> None:
    deployment = render()["Deployment"]
    deployment["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        kubernetes_validate.validate(deployment, VERSIONS[0], strict=True)


def test_probes_ask_what_the_service_answers() -> None:
    (container,) = pod_of(render()["Deployment"])["containers"]
    asked = {name: container[name]["httpGet"]["path"] for name in container if "Probe" in name}
    assert asked == {
        "startupProbe": "/health/live",
        "livenessProbe": "/health/live",
        "readinessProbe": "/health/ready",
    }
    (port,) = container["ports"]
    assert {container[name]["httpGet"]["port"] for name in asked} == {port["name"]}


@pytest.mark.parametrize("kind", STARTING_PODS)
def test_no_pod_can_do_more_than_it_needs(kind: str) -> None:
    pod = pod_of(render()[kind])
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    may = container["securityContext"]
    assert may["readOnlyRootFilesystem"] is True and may["allowPrivilegeEscalation"] is False
    assert may["capabilities"] == {"drop": ["ALL"]}
    writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"/var/lib/feast-fusion", "/tmp"}


@pytest.mark.parametrize("kind", STARTING_PODS)
def test_passwords_come_from_the_secret_alone(kind: str) -> None:
    (container,) = pod_of(render({"secretName": "mine"})[kind])["containers"]
    secrets = {
        each["name"]: each["valueFrom"]["secretKeyRef"]
        for each in container["env"]
        if "valueFrom" in each
    }
    assert secrets == {
        name: {"name": "mine", "key": name} for name in ("REDIS_URL", "FUSION_API_KEY")
    }


def test_service_budget_and_autoscaler_mean_the_pods_that_answer() -> None:
    resources = render()
    labels = resources["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        resources["Service"]["spec"]["selector"],
        resources["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
        for kind in ("Job", "CronJob"):
            spec = resources[kind]["spec"].get("jobTemplate", resources[kind])["spec"]
            assert not selector.items() <= spec["template"]["metadata"]["labels"].items()
    scaled = resources["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert scaled["name"] == resources["Deployment"]["metadata"]["name"]
    assert "replicas" not in resources["Deployment"]["spec"], "it would undo the autoscaler"


def test_each_upgrade_has_a_run_of_its_own() -> None:
    with helm.Chart.load(str(CHART)) as chart:
        first, second = (chart.render({}, name="shop", revision=n) for n in (1, 2))
    (run,) = (path for path in first if path.endswith("/run.yaml"))
    assert "name: shop-run-1" in first[run] and "name: shop-run-2" in second[run]


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": 0},
        {"secretName": "Not A Name"},
        {"servise": {"port": 1}},
        {"home": {"size": "20"}},
    ],
    ids=lambda values: next(iter(values)),
)
def test_values_that_mean_nothing_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(helm.HelmError, match=next(iter(values))):
        render(values)
