"""`pathoml explain`: runs/RUN/attention/."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from typer import Context, Exit

from pathoml.cli.ahead import refuse_what_does_not_fit
from pathoml.cli.arguments import SetOption, StudyArgument
from pathoml.cli.console import Console, say_failures

if TYPE_CHECKING:
    from pathoml.config import Study
    from pathoml.explanation.step import Explained


def command(ctx: Context, study: StudyArgument = Path(), settings: SetOption = None) -> None:
    """Attention and signed contribution of every tile: runs/RUN/attention/."""
    from pathoml.config import load_study

    loaded = load_study(study, settings or ())
    refuse_what_does_not_fit(loaded, ["explain"])
    raise Exit(run(loaded, ctx.obj))


def run(study: Study, console: Console) -> int:
    """Write a map of every slide if the models changed. Returns 1 if a slide could not be drawn."""
    from pathoml.explanation.step import explain_study

    return tell(explain_study(study, progress=console), console)


def tell(explained: Explained, console: Console) -> int:
    """Print where the maps are and whether they may be believed. Returns 1 if one was not drawn."""
    if explained.fresh or explained.no_map:  # the heading says it
        return 0
    from pathoml.explanation.faithfulness import FLAGGED_WARNING

    console.say(f"  maps: {explained.folder}/*.png, for QuPath: *.geojson")
    if found := explained.faithfulness:
        console.say(
            f"  faithful: {found['faithful_slides']} of {found['slides']} maps (judged by models "
            f"that did not make them); area {found['area']['estimate']:.3f} "
            f"({found['area']['low']:.3f} to {found['area']['high']:.3f})"
        )
        if found["flagged_share"] > FLAGGED_WARNING:
            console.say(
                f"  WARNING: {found['flagged_share']:.0%} of the contribution comes from flagged"
                " tiles"
            )
    else:
        console.say(
            "  faithfulness was not checked: it needs a second repeat (splits.repeats), or a second"
            " seed (train.seeds) of a head that is trained, such as abmil"
        )
    return say_failures(explained.failures, console)
