"""`feast-fusion models`: the trained versions of the model, and which of them answer."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from cli.terminal import result, say
from cli.workspace_options import with_workspace
from feast_fusion.errors import EncoderMismatchError, schema_error
from intake.workspace import Workspace

if TYPE_CHECKING:
    from training.model_versions import ModelVersion
    from training.promotions import Promoted


@click.group()
def models() -> None:
    """Look after the trained versions of the model, and which of them answer.

    VERSION is a version's name or its beginning. A service takes up what is promoted within
    seconds, without a stop; with FUSION_MODELS the services of every host do.
    """


@models.command("list")
@with_workspace
def list_versions(workspace: Workspace, /) -> None:
    """The versions, the newest first, and the share of the users that each answers."""
    promoted = _promoted(workspace)
    found = [_described(version, promoted) for version in _all(workspace)]
    result(versions=found)
    say(f"{'version':14}{'trained (UTC)':18}{'answers':>8}  {'validation':22}encoder")
    say(*map(_line, found))


@models.command()
@click.argument("version")
@with_workspace
def show(workspace: Workspace, /, version: str) -> None:
    """What is known of VERSION, as one JSON object."""
    described = _described(_find(workspace, version), _promoted(workspace))
    say(json.dumps(described, indent=1))
    result(**described)


@models.command()
@click.argument("version")
@click.option(
    "--share",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Of the users; the others keep the versions that they have.",
)
@click.option("--shadow", is_flag=True, help="Ask it beside the others, and only count how it did.")
@with_workspace
def promote(workspace: Workspace, /, version: str, share: float, shadow: bool) -> None:
    """Let VERSION answer: all users, a share of them, or none that hears it (--shadow)."""
    from training.model_versions import ModelVersions
    from training.promotions import Promotions

    found = _find(workspace, version)
    # else every service would refuse it
    ModelVersions(workspace).load(found.name).require_next_item()
    _require_encoder(workspace, found)
    promotions = Promotions(workspace)
    now = promotions.shadow(found.name) if shadow else promotions.promote(found.name, share)
    _report(now)


@models.command()
@with_workspace
def rollback(workspace: Workspace, /) -> None:
    """Let those versions answer that did before the last promotion."""
    from training.promotions import Promotions

    promotions = Promotions(workspace)
    promotions.follow()
    for name in sorted(promotions.before().names):
        _require_encoder(workspace, _find(workspace, name))
    _report(promotions.roll_back())


@models.command()
@click.argument("version")
@with_workspace
def delete(workspace: Workspace, /, version: str) -> None:
    """Remove VERSION, which answers nobody, also from where hosts share it."""
    from training.model_versions import ModelVersions
    from training.shared_models import SharedModels

    name = _find(workspace, version).name
    if name in _promoted(workspace).names:
        raise schema_error(
            f"model {name}",
            got="a version that is in use",
            expected="one that is not",
            remedy="Promote another one first: feast-fusion models promote.",
        )
    if (shared := SharedModels.of(workspace)) is not None:
        shared.remove(name)
    ModelVersions(workspace).delete(name)
    say(f"Model {name} is removed.")
    result(removed=name)


def _promoted(workspace: Workspace) -> "Promoted":
    """What is promoted now, on whatever host; nothing is no error."""
    from training.promotions import Promoted, Promotions

    promotions = Promotions(workspace)
    promotions.follow()
    return promotions.read() if promotions.read_stamp() else Promoted()


def _all(workspace: Workspace) -> "list[ModelVersion]":
    """The versions of this host and those that hosts share, the newest first."""
    from training.model_versions import ModelVersions
    from training.shared_models import SharedModels

    shared = SharedModels.of(workspace)
    found = [] if shared is None else shared.all()
    known = {version.name: version for version in [*found, *ModelVersions(workspace).all()]}
    return sorted(known.values(), key=lambda version: version.trained, reverse=True)


def _find(workspace: Workspace, beginning: str) -> "ModelVersion":
    """As `ModelVersions.find`; a version that only other hosts have is fetched."""
    from training.model_versions import ModelVersions
    from training.shared_models import SharedModels

    return (SharedModels.of(workspace) or ModelVersions(workspace)).find(beginning)


def _require_encoder(workspace: Workspace, version: "ModelVersion") -> None:
    """Refuse a version whose vectors are in no store."""
    from cli.candidate_encoder import is_ready  # seconds to import

    encoder_id = version.encoder_id
    if encoder_id is not None and not is_ready(workspace, encoder_id):
        raise EncoderMismatchError(
            f"model {version.name}: got a version of the encoder {encoder_id}, expected one that "
            f"{workspace.dataset.path} declares and whose vectors are in store. Declare it there "
            "as [encoder.candidates.NAME], then run feast-fusion rehearse --encoder NAME --model "
            f"{version.name}."
        )


def _described(version: "ModelVersion", promoted: "Promoted") -> Mapping[str, Any]:
    return {
        **asdict(version),
        "trained": version.trained.isoformat(timespec="seconds"),
        "share": promoted.shares.get(version.name, 0.0),
        "shadow": promoted.shadow == version.name,
    }


def _line(version: Mapping[str, Any]) -> str:
    trained = datetime.fromisoformat(version["trained"])
    answers = "shadow" if version["shadow"] else f"{version['share']:.0%}"
    metrics = version["metrics"].items()
    measured = ", ".join(f"{name.removeprefix('validation_')} {v:.4f}" for name, v in metrics)
    return (
        f"{version['name']:14}{trained:%Y-%m-%d %H:%M}  {answers:>8}  {measured:22}"
        f"{version['encoder_id']}"
    )


def _report(promoted: "Promoted") -> None:
    say(*(f"Model {name} answers {share:.0%}." for name, share in promoted.shares.items()))
    if promoted.shadow:
        say(f"Model {promoted.shadow} is the shadow.")
    result(shares=promoted.shares, shadow=promoted.shadow)
