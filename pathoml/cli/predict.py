"""`pathoml predict`: scores of a locked bundle for another study's patients, and how far its slides
have drifted.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Context, Exit, Option

from pathoml.cli.arguments import SetOption
from pathoml.cli.console import Console, say_failures

if TYPE_CHECKING:
    from pathoml.config import Study


def command(
    ctx: Context,
    study: Annotated[
        Path,
        Argument(help="The study to score; its slides must be embedded as the bundle says."),
    ],
    bundle: Annotated[Path, Option("--bundle", help="The folder that `pathoml lock` wrote.")],
    name: Annotated[
        str, Option("--name", help="The folder under runs/; the bundle's own name if not given.")
    ] = "",
    maps: Annotated[
        bool, Option("--maps", help="Draw the maps too, into runs/NAME/attention/.")
    ] = False,
    settings: SetOption = None,
) -> None:
    """Score new patients with a locked bundle, outcomes unseen: runs/NAME/scores.csv and drift.csv,
    with maps on request.
    """
    from pathoml.config import load_study

    raise Exit(run(load_study(study, settings or ()), bundle, ctx.obj, name=name, maps=maps))


def run(study: Study, bundle: Path, console: Console, *, name: str = "", maps: bool = False) -> int:
    """Score and compare, and draw maps if asked. Returns 1 if a slide could not be drawn."""
    from pathoml.bundles.predicting import predict

    done = predict(study, bundle, name=name, maps=maps, progress=console)
    lights = ", ".join(
        f"{done.lights.get(light, 0)} {light}" for light in ("green", "amber", "red")
    )
    console.say(f"  {done.patients} patients scored: {done.folder}/scores.csv")
    if done.harmonised:
        console.say(f"  {done.harmonised}")
    console.say(
        f"  drift of {done.slides} slides by their worst light: {lights}; see"
        f" {done.folder}/drift.csv"
    )
    for warning in done.warnings:
        console.say(f"  WARNING: {warning}")
    for note in done.notes:
        console.say(f"  NOTE: {note}")
    if done.no_map:
        console.say(f"  {done.no_map}")
    elif maps:
        console.say(
            f"  maps: {done.folder}/attention/*.png, on the scale of these patients; for QuPath:"
            " *.geojson"
        )
    return say_failures(done.failures, console)
