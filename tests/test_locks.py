"""The lock files pin what pyproject.toml asks for, and no package twice."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = DECLARED["optional-dependencies"]


def pins(name: str) -> dict[str, str]:
    """Package -> version."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if "==" in line]
    return {canonicalize_name(p): v for p, v in (line.split("==") for line in lines)}


PLAIN, SCALE = pins("requirements.lock"), pins("requirements.scale.lock")
BROWSER, DOCS = pins("requirements.browser.lock"), pins("requirements.docs.lock")


def asked_by(extra: str) -> list[Requirement]:
    """The requirements of an extra, and of those that it names."""
    found: list[Requirement] = []
    for line in EXTRAS[extra]:
        requirement = Requirement(line)
        if requirement.name == DECLARED["name"]:
            found += [each for other in requirement.extras for each in asked_by(other)]
        else:
            found.append(requirement)
    return found


@pytest.mark.parametrize(
    ("extra", "pinned"),
    [
        ("dev", PLAIN),
        ("dev-browser", PLAIN | BROWSER),
        ("dev-scale", PLAIN | SCALE),
        ("docs", PLAIN | DOCS),
    ],
)
def test_a_lock_pins_what_is_asked_for(extra: str, pinned: dict[str, str]) -> None:
    asked = [*map(Requirement, DECLARED["dependencies"]), *asked_by(extra)]
    names = [canonicalize_name(each.name) for each in asked]
    pairs = zip(asked, names, strict=True)
    unmet = [str(r) for r, n in pairs if n not in pinned or pinned[n] not in r.specifier]
    assert unmet == []


def test_the_plain_environment_has_none_of_the_others() -> None:
    assert PLAIN.keys() & (BROWSER.keys() | DOCS.keys() | SCALE.keys()) == set()
    heavy = {"ray", "pysail", "pyspark-client", "pyiceberg", "moto"}
    assert heavy <= SCALE.keys()
