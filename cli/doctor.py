"""`feast-fusion doctor`: what a data set stands on, one line each, and whether all is well."""

import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal

import click
from redis import Redis
from redis.exceptions import RedisError

from cli.feast_repository import open_store
from cli.redis import redis_url, require_redis
from cli.suggested import as_typed
from cli.terminal import result, say
from cli.workspace_options import with_workspace
from feast_fusion.errors import FeastFusionError
from intake.preparation import Effect, changes_since, read_preparation
from intake.workspace import Workspace

_SCARCE_BYTES = 1 << 30
_OLD_REDIS = 7
_SAMPLE = 100  # items and users that are looked up online

Verdict = Literal["ok", "warning", "broken"]
Finding = tuple[Verdict, str]
_EFFECTS: dict[Verdict, Effect] = {"broken": "wrong", "warning": "old"}
_COLOURS = {"ok": "green", "warning": "yellow", "broken": "red"}


@click.command()
@with_workspace
def doctor(workspace: Workspace) -> None:
    """Look at a data set: description, home, sources, registry, encoder, model, Redis and the rest.

    One line each, with what to do; exit code 1 where something is broken.
    """
    findings: list[dict[str, str]] = []
    for name, look in _CHECKS.items():
        for verdict, said in _looked(look, workspace):
            what = as_typed(said)
            if what in {each["what"] for each in findings}:
                continue  # one cause, said once
            findings.append({"of": name, "verdict": verdict, "what": what})
            mark = click.style(f"{verdict:8}", fg=_COLOURS[verdict])
            say(f"{mark} {name:9} {what}")
    is_broken = any(each["verdict"] == "broken" for each in findings)
    result(is_broken=is_broken, findings=findings)
    sys.exit(is_broken)


def _looked(look: Callable[[Workspace], Iterator[Finding]], workspace: Workspace) -> list[Finding]:
    try:
        return list(look(workspace))
    except (FeastFusionError, OSError, RedisError) as error:
        return [("broken", " ".join(str(error).split()))]


def _home(workspace: Workspace) -> Iterator[Finding]:
    home = workspace.home
    if not home.is_dir():
        yield "broken", f"{home}: not there. Run feast-fusion run."
        return
    if not os.access(home, os.W_OK):
        yield "broken", f"{home}: cannot be written to. Give this user the right to, or use --home."
    others = stat.S_IMODE(home.stat().st_mode) & 0o077
    if others:
        yield "warning", f"{home}: other users of this machine may read it. Run chmod 700 {home}."
    else:
        yield "ok", f"{home}"


def _disk(workspace: Workspace) -> Iterator[Finding]:
    if not workspace.home.is_dir():
        return
    free = shutil.disk_usage(workspace.home).free
    said = f"{free / (1 << 30):.1f} GB free"
    if free < _SCARCE_BYTES:
        yield "warning", f"{said}: events are refused when it is full. Free some."
    else:
        yield "ok", said


def _dataset(workspace: Workspace) -> Iterator[Finding]:
    made = read_preparation(workspace)
    for verdict, effect in _EFFECTS.items():
        changed = made and changes_since(workspace.dataset, made.said, effect)
        if changed:
            yield verdict, changed
            return
    yield "ok", f"{workspace.dataset.path}"


def _sources(workspace: Workspace) -> Iterator[Finding]:
    from transformations.names import INTERACTIONS, ITEMS

    if workspace.read_stamp() is None:
        yield "broken", f"{workspace.sources}: nothing is prepared. Run feast-fusion prepare."
        return
    counts = {name: _n_rows(workspace, name) for name in (INTERACTIONS, ITEMS)}
    yield "ok", ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _journal(workspace: Workspace) -> Iterator[Finding]:
    from intake.journal_content import read_journal

    n_events = len(read_journal(workspace.events))
    yield "ok", f"{n_events:,} live events"


def _registry(workspace: Workspace) -> Iterator[Finding]:
    store = open_store(workspace)
    yield "ok", f"{len(store.list_all_feature_views())} feature views are applied"


def _encoder(workspace: Workspace) -> Iterator[Finding]:
    from feast_fusion.feature_service import encoder_of, open_service
    from transformations.declared_encoders import identify_every
    from transformations.names import SERVICE

    found, *others = [each.encoder_id for _, each in identify_every(workspace.dataset)]
    applied = encoder_of(open_service(open_store(workspace), SERVICE))
    if applied is not None and applied != found:
        yield "broken", f"{found}; the vectors in store are of {applied}. Run feast-fusion run."
    else:
        yield "ok", f"{found}, beside it {', '.join(others)}" if others else found


def _model(workspace: Workspace) -> Iterator[Finding]:
    from serving.online_features import OnlineFeatures
    from serving.slate import require_features
    from training.model_versions import ModelVersions
    from training.promotions import Promotions
    from transformations.names import ranker_service

    promoted = Promotions(workspace).read()
    for name in sorted(promoted.names):
        artifact = ModelVersions(workspace).load(name)
        features = OnlineFeatures(open_store(workspace), ranker_service(artifact.encoder_id))
        require_features(features, artifact.features)
        artifact.require_next_item()
    yield "ok", f"{workspace.models}: {', '.join(sorted(promoted.names))}"


def _redis(workspace: Workspace) -> Iterator[Finding]:
    require_redis()
    url = redis_url(workspace)
    if url is None:
        yield "ok", "not running; commands start it. To keep it: feast-fusion redis start."
        return
    with Redis.from_url(url) as client:
        info: Any = client.info()
    version = str(info["redis_version"])
    used, limit = info["used_memory"], info["maxmemory"]
    policy = str(info["maxmemory_policy"])
    of = f" of {limit / 1e6:,.0f}" if limit else ""
    said = f"{version}, {used / 1e6:,.0f}{of} MB, {policy}"
    if limit and policy != "noeviction":
        yield "warning", f"{said}: rows may vanish. Set maxmemory-policy noeviction."
    elif limit and used > 0.9 * limit:
        yield "warning", f"{said}: nearly full. Raise maxmemory."
    elif "REDIS_URL" not in os.environ:
        yield "ok", f"{said}, started by us: this machine alone reaches it, with a password"
    elif int(version.split(".")[0]) < _OLD_REDIS:
        yield "warning", f"{said}: a version with known holes. Run a newer one."
    else:
        yield "ok", said


def _rows(workspace: Workspace) -> Iterator[Finding]:
    import polars as pl

    from cli.redis import running_redis
    from feast_fusion.parquet.whole import read_parquet
    from feast_fusion.redis_matrix import online_store_of
    from serving.online_features import OnlineFeatures
    from transformations.names import ITEMS, SERVICE, USER_STATS

    require_redis()
    connection = running_redis(workspace)
    if connection is None:
        return
    store = open_store(workspace, connection)
    features = OnlineFeatures(store, SERVICE)

    def sample(name: str, key: str) -> list[str]:
        ids = pl.DataFrame(read_parquet(workspace.source(name), [key]))[key].unique()
        return ids.sample(min(_SAMPLE, len(ids)), seed=0).to_list()

    try:
        for name, key in ((ITEMS, "item_id"), (USER_STATS, "user_id")):
            ids = sample(name, key)
            found = features.are_there(key, ids)
            missing = [one for one, is_there in zip(ids, found, strict=True) if not is_there]
            said = f"{len(ids) - len(missing)} of {len(ids)} by {key}"
            if missing:
                yield "broken", f"{said}; not {missing[0]!r}. Run feast-fusion refresh full."
            else:
                yield "ok", said
    finally:
        online_store_of(store).disconnect()


def _n_rows(workspace: Workspace, name: str) -> int:
    from feast_fusion.parquet.whole import count_rows

    return count_rows(workspace.source(name))


_CHECKS = {
    "dataset": _dataset,
    "home": _home,
    "disk": _disk,
    "sources": _sources,
    "journal": _journal,
    "registry": _registry,
    "encoder": _encoder,
    "model": _model,
    "Redis": _redis,
    "rows": _rows,
}
