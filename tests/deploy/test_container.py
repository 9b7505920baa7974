"""Dockerfile and compose file: what linters and Docker's own reader say of them."""

import json
import os
import subprocess
from fnmatch import fnmatch
from typing import Any

import pytest

from tests.deploy.places import ROOT, TOOLS

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
COMPOSE = ROOT / "deploy" / "compose.yaml"
VARIABLES = {"REDIS_PASSWORD": "secret", "FUSION_API_KEY": "key", "DATA": "/data"}


def test_the_linter_of_dockerfiles_finds_nothing() -> None:
    command = [TOOLS / "hadolint", "--no-color", "--failure-threshold", "style", DOCKERFILE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_gives_up_its_rights_and_is_checked() -> None:
    last_stage = DOCKERFILE.read_text().rsplit("\nFROM ", 1)[1]
    said = dict(
        line.split(maxsplit=1) for line in last_stage.splitlines()[1:] if line[:1].isupper()
    )
    assert said["USER"] == "10001:10001"
    assert json.loads(said["ENTRYPOINT"]) == ["feast-fusion"], "a shell would not pass on SIGTERM"
    assert "/health/live" in last_stage


def test_the_build_gets_every_file_that_a_wheel_is_built_of() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert rooms <= let_in
    for name in ("pyproject.toml", "setup.py", "requirements.lock", "README.md", "LICENSE"):
        assert name in let_in and (ROOT / name).is_file()
    assert not any(fnmatch(name, each) for each in let_in for name in (".venv", ".git", ".fusion"))


def compose(**variables: str) -> subprocess.CompletedProcess[str]:
    """`docker compose config`, which needs no daemon."""
    command = [TOOLS / "docker-compose", "-f", COMPOSE, "config", "--format", "json"]
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    done = compose(**VARIABLES)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def test_compose_starts_them_one_after_the_other(services: dict[str, Any]) -> None:
    waits = {
        name: {other: how["condition"] for other, how in each.get("depends_on", {}).items()}
        for name, each in services.items()
    }
    assert waits == {
        "redis": {},
        "run": {"redis": "service_healthy"},
        "service": {"redis": "service_healthy", "run": "service_completed_successfully"},
        "refresh": {"service": "service_healthy"},
    }
    assert "/health/ready" in services["service"]["healthcheck"]["test"][-1]


def test_compose_keeps_redis_to_those_who_have_the_password(services: dict[str, Any]) -> None:
    assert "ports" not in services["redis"]
    said = " ".join(services["redis"]["command"])
    assert "appendonly yes" in said
    assert "secret" not in said, "an argument is read by every process of the machine"
    for name in ("run", "service", "refresh"):
        assert services[name]["environment"]["REDIS_URL"] == "redis://:secret@redis:6379"
        assert services[name]["read_only"] is True and services[name]["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", VARIABLES)
def test_compose_starts_nothing_without_its_variables(name: str) -> None:
    done = compose(**{key: value for key, value in VARIABLES.items() if key != name})
    assert done.returncode != 0 and name in done.stderr
