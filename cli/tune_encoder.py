"""`feast-fusion tune-encoder`: the data set's encoder, adapted to its texts and choices."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.terminal import progress_bar, say, then
from cli.workspace_options import with_workspace
from feast_fusion.errors import FeatureNotFoundError, schema_error
from feast_fusion.files import replaced_file, replaced_folder
from intake.preparation import require_unchanged_sources
from intake.workspace import Workspace
from training.encoder_tuning.settings import TuningSettings
from transformations.names import INTERACTIONS

if TYPE_CHECKING:
    from evaluation.protocol import Part
    from training.encoder_tuning.tuning import Losses, Tuning

_DEFAULT = TuningSettings()
_Steps = click.IntRange(min=0)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), help="Folder. Default: in the workspace.")
@click.option(
    "--steps",
    default=_DEFAULT.steps,
    show_default=True,
    type=_Steps,
    help="Steps of learning what is liked next.",
)
@click.option(
    "--masked-steps",
    default=_DEFAULT.masked_steps,
    show_default=True,
    type=_Steps,
    help="Steps of guessing hidden words of item texts, before the others.",
)
@click.option("--full", is_flag=True, help="Change all weights, not low-rank parts (LoRA).")
@click.option(
    "--rank",
    default=_DEFAULT.rank,
    show_default=True,
    type=click.IntRange(min=1),
    help="Rank of the changes.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    help="Linear layers that change, such as query. Repeatable. Default: all.",
)
@click.option(
    "--layers",
    default=_DEFAULT.layers,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="The last N layers change; more than there are: all.",
)
@click.option(
    "--forget",
    default=_DEFAULT.forget,
    show_default=True,
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of the words of an item's text that a step leaves out.",
)
@click.option(
    "--width",
    "widths",
    multiple=True,
    type=click.IntRange(min=1),
    help="Leading numbers of a vector that serve too (Matryoshka). Repeatable.",
)
@click.option(
    "--learning-rate",
    default=_DEFAULT.learning_rate,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="The highest, of AdamW.",
)
@click.option(
    "--temperature",
    default=_DEFAULT.temperature,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Of the softmax over cosines.",
)
@click.option(
    "--hold-out",
    type=int,
    metavar="SEED",
    help="Leave 15 % of the items out, drawn by SEED, and measure how well these are found.",
)
@click.option(
    "--part",
    type=click.Choice(["validation", "test"]),
    default="validation",
    show_default=True,
    help="Of [split]: on which is measured.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write all figures to this file.",
)
@click.option("--seed", default=0, show_default=True, help="Same seed, same encoder (on a CPU).")
@with_workspace
def tune_encoder(
    workspace: Workspace,
    out: Path | None,
    steps: int,
    masked_steps: int,
    full: bool,
    rank: int,
    targets: tuple[str, ...],
    layers: int,
    forget: float,
    widths: tuple[int, ...],
    learning_rate: float,
    temperature: float,
    hold_out: int | None,
    part: "Part",
    json_path: Path | None,
    seed: int,
) -> None:
    """Adapt the encoder of dataset.toml to the data set, and write it to a folder.

    It learns from prepared events of the training part of [split] alone, and from texts as they
    were known at each event: the text of what a user had liked, and the items liked before, shall
    lie near the item liked next. A run that was killed goes on.

    \b
    Use it:  [encoder] model = "FOLDER" in dataset.toml, then feast-fusion run.
    """
    out = (out or workspace.tuned_encoder).resolve()
    if out.exists():
        raise schema_error(
            f"{out}",
            got="a folder or file that exists",
            expected="a new one to write the encoder to",
            remedy="Name another with --out, or remove it.",
        )
    _require_prepared(workspace)
    settings = TuningSettings(
        steps=steps,
        masked_steps=masked_steps,
        rank=None if full else rank,
        targets=targets,
        layers=layers,
        forget=forget,
        widths=widths,
        learning_rate=learning_rate,
        temperature=temperature,
    )
    tuning = _plan(workspace, settings, seed, hold_out)
    with replaced_folder(out) as building, progress_bar("Tuning") as advance:
        losses = tuning.write(building, advance)
    tuning.checkpoints.remove()
    say(*_loss_lines(losses))
    figures = _measure(workspace, out, part, hold_out)
    if json_path is not None:
        with replaced_file(json_path) as building:
            building.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    then(f'Written to {out}. Next: [encoder] model = "{out}" in {workspace.dataset.path}.')


def _require_prepared(workspace: Workspace) -> None:
    path = workspace.source(INTERACTIONS)
    if not path.is_file():
        raise FeatureNotFoundError(
            f"{path}: got no such file, expected the prepared events. Run feast-fusion prepare."
        )
    require_unchanged_sources(workspace)


def _plan(
    workspace: Workspace, settings: TuningSettings, seed: int, hold_out: int | None
) -> "Tuning":
    """The tuning, and a line on what a killed run left of it."""
    from evaluation.cold_items import draw_items
    from feast_fusion.encoding.model_folder import find_model_folder
    from feast_fusion.encoding.modules import read_modules
    from training.checkpoint import Checkpoints
    from training.encoder_tuning.adapted_network import require_modules
    from training.encoder_tuning.choices import read_choices
    from training.encoder_tuning.tuning import Tuning, fingerprint
    from transformations.collaborative.prepared_log import read_prepared_events
    from transformations.declared_encoders import identify

    encoder = workspace.dataset.encoder
    identity = identify(workspace.dataset)
    require_modules(identity)
    without = None if hold_out is None else draw_items(read_prepared_events(workspace), hold_out)
    choices = read_choices(workspace, without)
    kept = Checkpoints(
        workspace.encoder_checkpoints, fingerprint(workspace, identity, choices, settings, seed)
    )
    folder = find_model_folder(encoder.model, partial(read_modules, pooling=encoder.pooling))
    tuning = Tuning(folder, identity, choices, workspace, settings, seed, kept)
    say(f"{len(choices):,} choices before the split, by {identity.encoder_id}.")
    taken = tuning.steps_taken()
    if taken is None:
        say("An unfinished tuning of other data or settings lies here: starting again.")
    elif taken:
        say(f"Going on after step {taken:,} of {settings.masked_steps + settings.steps:,}.")
    return tuning


def _loss_lines(losses: "Losses") -> Iterator[str]:
    for kind, values in losses.items():
        tenth = max(1, len(values) // 10)
        first, last = (sum(part) / tenth for part in (values[:tenth], values[-tenth:]))
        yield f"Loss of {kind}: {first:.3f} nats in the first tenth, {last:.3f} in the last."


def _measure(
    workspace: Workspace, out: Path, part: "Part", hold_out: int | None
) -> dict[str, dict[str, dict[str, float]]]:
    """What text alone finds before and after, printed and as numbers."""
    from evaluation.text_retrieval import measure_text, with_encoder

    before = measure_text(workspace, part, hold_out)
    after = measure_text(with_encoder(workspace, out), part, hold_out)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    say(f"{f'liked next, {part} part':28}{'recall@10':>12}{'recall@50':>12}{'NDCG@10':>12}")
    for where in before:
        figures[where] = {}
        for name, found in (("before", before[where]), ("after", after[where])):
            cells = (found.recall_10, found.recall_50, found.ndcg_10)
            say(f"{f'{where}, {name}':28}" + "".join(f"{cell:>12.4f}" for cell in cells))
            figures[where][name] = asdict(found)
    return figures
