"""`feast-fusion cache`: the vectors that are kept so that no text is encoded twice."""

import sys

import click

from cli.terminal import progress_bar, say
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

_GB = 10**9


@click.group()
def cache() -> None:
    """Look after the vectors that are kept so that no text is encoded twice.

    They are shared by all data sets of a home, one file for each encoder.
    """


@cache.command()
@with_workspace
def stats(workspace: Workspace) -> None:
    """Say which encoders have vectors, how many and how large."""
    caches = list_caches(workspace.vectors)
    say(*(_line(one) for one in caches))
    total = sum(one.n_bytes + one.set_aside_bytes for one in caches)
    say(f"{len(caches)} encoders, {total / _GB:.3f} GB in {workspace.vectors}.")


@cache.command()
@with_workspace
def verify(workspace: Workspace) -> None:
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
    sys.exit(1 if n_broken else 0)


@cache.command()
@click.option("--at-most-gb", type=click.FloatRange(min=0), help="For each encoder's vectors.")
@click.option("--drop", multiple=True, metavar="ID", help="An encoder whose vectors are removed.")
@with_workspace
def compact(workspace: Workspace, at_most_gb: float | None, drop: tuple[str, ...]) -> None:
    """Remove damaged files and free space; the oldest vectors too, beyond a bound.

    What is removed is computed again when its text is next needed. Needs as much free space on the
    disk as the largest file has.
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


def _line(one: CacheFile) -> str:
    what = f"{one.n_vectors:,} vectors of {one.dimension} numbers"
    if not one.dimension:
        what = "cannot be read; its vectors are computed again"
    aside = f" and {len(one.set_aside)} damaged files set aside" if one.set_aside else ""
    return f"{one.cache_id}: {what}, {one.n_bytes / _GB:.3f} GB{aside}."
