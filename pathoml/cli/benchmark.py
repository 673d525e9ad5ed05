"""`pathoml benchmark`: encoders x heads on the same folds, with intervals, cost, and the price of
choosing.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Context, Exit, Option

from pathoml.cli.arguments import SetOption, StudyArgument
from pathoml.cli.console import Console
from pathoml.cli.evaluate import interval_text

if TYPE_CHECKING:
    from pathoml.config import Study
    from pathoml.evaluation.comparison import Harmonise


class Harmonised(StrEnum):
    """Ways that can be compared: values of train.harmonise."""

    none = "none"
    centre = "centre"


def command(
    ctx: Context,
    study: StudyArgument = Path(),
    encoders: Annotated[
        list[str] | None,
        Option("--encoder", help="Encoders to compare; the study's if none."),
    ] = None,
    heads: Annotated[list[str] | None, Option("--head", help="Heads to compare.")] = None,
    harmonise: Annotated[
        list[Harmonised] | None,
        Option(
            "--harmonise",
            help="With train.harmonise, without (none), or give both to compare; the study's if"
            " not given.",
        ),
    ] = None,
    permutations: Annotated[
        int, Option(min=0, help="Permutations of the best of all recipes.")
    ] = 0,
    settings: SetOption = None,
) -> None:
    """Compare encoders and heads on the same folds: C with paired intervals, cost, and what
    choosing costs.
    """
    from pathoml.config import load_study

    loaded = load_study(study, settings or ())
    chosen = heads or ["mean_extremes", "abmil", "ridge_cox"]
    ways: list[Harmonise] = ["centre" if way == "centre" else None for way in harmonise or ()]
    raise Exit(
        run(
            loaded,
            encoders or [],
            chosen,
            permutations=permutations,
            console=ctx.obj,
            harmonise=ways,
        )
    )


def run(
    study: Study,
    encoders: Sequence[str],
    heads: Sequence[str],
    *,
    permutations: int,
    console: Console,
    harmonise: Sequence[Harmonise] = (),
) -> int:
    """Compare and print one row a recipe."""
    from pathoml.evaluation.comparison import compare

    encoders = encoders or [study.config.encoder]
    console.heading(
        f"benchmark  {len(encoders)} encoders x {len(heads)} heads"
        + (f" x {len(harmonise)} ways to harmonise" if len(harmonise) > 1 else "")
        + f", {permutations} permutations"
    )
    content = compare(
        study,
        encoders,
        heads,
        permutations=permutations,
        say=console.say,
        harmonise=harmonise,
    )
    rows = [
        (
            c["encoder"],
            c["head"] + (f", harmonised by {c['harmonise']}" if c["harmonise"] else ""),
            interval_text(c["harrell_c"]),
            interval_text(c["harrell_c_centre_stratified"]),
            interval_text(c["difference_to_winner"]) if c["difference_to_winner"] else "the winner",
            f"{c['cpu_seconds']:.0f}",
        )
        for c in content["candidates"]
    ]
    console.table(
        rows,
        (
            "encoder",
            "head",
            "C (95 %)",
            "within centres (95 %)",
            "difference to the winner (95 %)",
            "CPU s",
        ),
    )
    selection = content["selection"]
    p = (
        f"{selection['p_value']:.3f}"
        if selection["p_value"] is not None
        else "not computed (--permutations 199)"
    )
    chosen = selection["harrell_c_of_the_choice"]
    corrected = f"{chosen:.3f}" if chosen is not None else "not estimable"
    console.say(
        f"  C of the choice, corrected for choosing: {corrected}; permutation p of the best: {p}"
    )
    return 0
