"""`feast-fusion ingest`: events of files or of a Kafka topic into the journal, each once."""

import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.feast_repository import require_run, running_store
from cli.stop_signals import on_stop_signals
from cli.terminal import result, say, then
from cli.workspace_options import with_workspace
from feast_fusion.errors import FeastFusionError, SchemaError, schema_error
from intake.workspace import Workspace

if TYPE_CHECKING:
    from serving.feeds.feed import Feed


@click.command()
@click.argument(
    "folder",
    required=False,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option("--kafka", metavar="HOST:PORT", help="Kafka servers, with commas between them.")
@click.option("--topic", help="The topic of --kafka.")
@click.option("--group", help="The consumer group. Default: feast-fusion-<data set>.")
@click.option(
    "--kafka-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of settings of librdkafka, name=value a line, such as security.protocol=SASL_SSL.",
)
@click.option("--follow", is_flag=True, help="Go on until interrupted, as files or messages come.")
@with_workspace
def ingest(
    workspace: Workspace,
    /,
    folder: Path | None,
    kafka: str | None,
    topic: str | None,
    group: str | None,
    kafka_config: Path | None,
    follow: bool,
) -> None:
    """Take in events from the files of FOLDER, or from a Kafka topic.

    They have the form of the table of [interactions] in dataset.toml: its columns, its times, its
    way to write a file. A message of Kafka is such a row as an object of JSON. They are journaled
    and change features as those that a service is sent; it may run meanwhile.

    Each counts once, also when this is interrupted and begun again: by its event_id, else by the
    topic, partition and offset of the message, or what the row says and the name of its file.
    """
    if (folder is None) == (kafka is None) or (kafka is None) != (topic is None):
        raise schema_error(
            "ingest",
            got=f"FOLDER {folder}, --kafka {kafka}, --topic {topic}",
            expected="either FOLDER or both of --kafka and --topic",
            remedy="Name one source.",
        )
    require_run(workspace)
    unreadable: list[SchemaError] = []
    feed: Feed
    if kafka is not None and topic is not None:
        from serving.feeds.kafka_feed import KafkaFeed

        settings = _read_settings(kafka_config) | {
            "bootstrap.servers": kafka,
            "group.id": group or f"feast-fusion-{workspace.dataset.name}",
        }
        feed = KafkaFeed(workspace.dataset, topic, settings, follow=follow)
    elif folder is not None:
        from serving.feeds.folder_feed import FolderFeed

        feed = FolderFeed(workspace, folder, follow=follow, failed=unreadable.append)
    counts = _take_in(workspace, feed)
    _report(workspace, counts, unreadable)


def _take_in(workspace: Workspace, feed: "Feed") -> Counter[str]:
    from serving.feeds.taking import take_in
    from serving.http.library import open_library

    stop, counts = threading.Event(), Counter[str]()
    with (
        on_stop_signals(stop.set),
        running_store(workspace) as store,
        open_library(workspace, store) as (_, intake, *_),
    ):
        for found in take_in(feed, intake, _rejects(workspace), stop):
            counts = Counter(found)
    return counts


def _rejects(workspace: Workspace) -> Path:
    return workspace.ingested / "rejects.jsonl"


def _report(workspace: Workspace, counts: Counter[str], unreadable: list[SchemaError]) -> None:
    say(
        f"{counts['accepted']:,} events taken in, {counts['duplicate']:,} that were there already, "
        f"{counts['rejected']:,} rejected."
    )
    if counts["rejected"]:
        say(f"Each rejected row, its place and the reason: {_rejects(workspace)}")
    if unreadable:
        say(*map(str, unreadable))
        raise FeastFusionError(
            f"ingest: got {len(unreadable)} files that cannot be read, expected none. Correct "
            "them as said above and ingest again: what was taken in is not taken in twice."
        )
    result(**{kind: counts[kind] for kind in ("accepted", "duplicate", "rejected")})
    then("Next: feast-fusion refresh incremental, which folds them into the sources.")


def _read_settings(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    wrong = [name for name, sign, _ in pairs if not sign]
    if wrong:
        raise schema_error(
            f"{path}",
            got=f"the line {wrong[0]!r}",
            expected="name=value, such as security.protocol=SASL_SSL",
            remedy="Correct the line.",
        )
    return {name.strip(): value.strip() for name, _, value in pairs}
