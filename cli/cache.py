"""`feast-fusion cache`: the vectors that are kept so that no text is encoded twice."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cli.terminal import progress_bar, result, say
from cli.workspace_options import with_workspace
from feast_fusion.encoding.cache_care import (
    CacheFile,
    compact_cache,
    drop_cache,
    find_cache,
    list_caches,
    verify_cache,
)
from intake.workspace import Workspace

if TYPE_CHECKING:
    from feast_fusion.shared_vectors.part_care import SharedFolder

_GB = 10**9


@click.group()
def cache() -> None:
    """Look after the vectors that are kept so that no text is encoded twice.

    They are shared by all data sets of a home, one file for each encoder; those at FUSION_VECTORS
    by several machines.
    """


def _with_shared(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--shared",
        envvar="FUSION_VECTORS",
        metavar="PLACE",
        help="Also the vectors of several machines, in a folder or at s3://... (FUSION_VECTORS).",
    )(command)


@cache.command()
@_with_shared
@with_workspace
def stats(workspace: Workspace, shared: str | None) -> None:
    """Say which encoders have vectors, how many and how large."""
    caches = list_caches(workspace.vectors)
    say(*(_line(one) for one in caches))
    total = sum(one.n_bytes + one.set_aside_bytes for one in caches)
    say(f"{len(caches)} encoders, {total / _GB:.3f} GB in {workspace.vectors}.")
    say(*(_shared_line(one) for one in _shared_folders(shared)))
    result(bytes=total, vectors={one.cache_id: one.n_vectors for one in caches})


@cache.command()
@_with_shared
@with_workspace
def verify(workspace: Workspace, shared: str | None) -> None:
    """Compare every vector with its checksum; broken ones are removed, then exit code 1.

    They are computed again when their texts are next needed.
    """
    n_broken = 0
    for one in list_caches(workspace.vectors):
        with progress_bar("Verifying") as advance:
            sound, broken = verify_cache(workspace.vectors, one, advance)
        is_whole = one.dimension and not broken
        n_broken += broken if is_whole else max(broken, 1)
        removed = "" if is_whole else f", {broken:,} broken and removed"
        say(f"{one.cache_id}: {sound:,} vectors sound{removed}.")
    if shared is not None:
        n_broken += _verify_shared(shared)
    result(broken=n_broken)
    sys.exit(1 if n_broken else 0)


@cache.command()
@click.option("--at-most-gb", type=click.FloatRange(min=0), help="For each encoder's vectors.")
@click.option("--drop", multiple=True, metavar="ID", help="An encoder whose vectors are removed.")
@_with_shared
@with_workspace
def compact(
    workspace: Workspace, shared: str | None, at_most_gb: float | None, drop: tuple[str, ...]
) -> None:
    """Remove damaged files and free space; the oldest vectors too, beyond a bound.

    What is removed is computed again when its text is next needed. Needs as much free space on the
    disk as the largest file has. Of shared vectors, many small files become few, and none goes.
    """
    folder = workspace.vectors
    for dropped in [find_cache(folder, cache_id) for cache_id in drop]:
        drop_cache(folder, dropped)
        say(f"{dropped.cache_id}: removed.")
    bound = None if at_most_gb is None else int(at_most_gb * _GB)
    for one in list_caches(folder):
        before = one.n_bytes + one.set_aside_bytes
        after = compact_cache(folder, one, bound)
        say(f"{_line(after)} Before: {one.n_vectors:,} vectors, {before / _GB:.3f} GB.")
    if shared is not None:
        _merge_shared(shared)
    result(dropped=drop, vectors={one.cache_id: one.n_vectors for one in list_caches(folder)})


def _verify_shared(place: str) -> int:
    """How many parts were broken, and are removed now."""
    from feast_fusion.shared_vectors.part_care import verify_shared

    n_broken = 0
    for one in _shared_folders(place):
        with progress_bar("Verifying") as advance:
            sound, broken = verify_shared(place, one, advance)
        say(*(f"{path}: broken and removed." for path in broken))
        say(f"{one.encoder_id}, shared: {sound:,} vectors sound.")
        n_broken += len(broken)
    return n_broken


def _merge_shared(place: str) -> None:
    from feast_fusion.shared_vectors.part_care import merge_shared

    for one in _shared_folders(place):
        after = merge_shared(place, one)
        say(f"{_shared_line(after)} Before: {len(one.parts):,} files, {one.n_bytes / _GB:.3f} GB.")


def _shared_folders(place: str | None) -> "list[SharedFolder]":
    if place is None:
        return []
    from feast_fusion.shared_vectors.part_care import list_shared  # imports Feast: seconds

    return list_shared(place)


def _shared_line(one: "SharedFolder") -> str:
    return f"{one.encoder_id}, shared: {len(one.parts):,} files, {one.n_bytes / _GB:.3f} GB."


def _line(one: CacheFile) -> str:
    what = f"{one.n_vectors:,} vectors of {one.dimension} numbers"
    if not one.dimension:
        what = "cannot be read; its vectors are computed again"
    aside = f" and {len(one.set_aside)} damaged files set aside" if one.set_aside else ""
    return f"{one.cache_id}: {what}, {one.n_bytes / _GB:.3f} GB{aside}."
