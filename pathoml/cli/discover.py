"""`pathoml discover`: runs/RUN/features/, and what raters said of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Context, Exit, Option

from pathoml.cli.arguments import SetOption, StudyArgument
from pathoml.cli.console import Console
from pathoml.errors import ConfigError

if TYPE_CHECKING:
    from pathoml.config import Study
    from pathoml.discovery.step import Discovered

ROWS_SHOWN = 12


def command(
    ctx: Context,
    study: StudyArgument = Path(),
    labels: Annotated[
        Path | None,
        Option("--labels", help="Ratings of the naming sheet or of the viewer, as CSV."),
    ] = None,
    spots: Annotated[
        Path | None,
        Option(
            "--spots", help="Spatial transcriptomics of one slide, as .h5ad; goes with --slide."
        ),
    ] = None,
    slide: Annotated[
        str,
        Option("--slide", help="The slide_id of the section that --spots was measured on."),
    ] = "",
    settings: SetOption = None,
) -> None:
    """Find groups of similar tiles, test them against the outcome, write sheets for naming:
    runs/RUN/features/.
    """
    from pathoml.config import load_study

    loaded = load_study(study, settings or ())
    raise Exit(run(loaded, ctx.obj, labels, spots=spots, slide_id=slide))


def run(
    study: Study,
    console: Console,
    labels: Path | None = None,
    *,
    spots: Path | None = None,
    slide_id: str = "",
) -> int:
    """Find and test phenotypes if the run changed; with `labels`, read the raters back, with
    `spots`, join genes to a slide instead.
    """
    if labels is not None:
        return _say_labels(study, labels, console)
    if spots is not None:
        return _say_spots(study, spots, slide_id, console)
    from pathoml.discovery.step import discover_study

    return tell(discover_study(study, progress=console), console)


def tell(found: Discovered, console: Console) -> int:
    """Print the phenotypes with their evidence."""
    if found.fresh or found.no_map:  # the heading says it
        return 0
    rows = [
        (
            r["phenotype"],
            f"{r['share_mean']:.0%}",
            f"{r['hazard_ratio_sd']:.2f} ({r['low']:.2f} to {r['high']:.2f})"
            if r["hazard_ratio_sd"]
            else "-",
            f"{r['p_value']:.4f}",
            f"{r['q_value']:.3f}",
            f"{r['stability']:.2f}",
            r["suspect"] or "-",
        )
        for r in found.rows
    ]
    console.table(
        rows,
        ("phenotype", "share", "HR per SD (95 %)", "p (permutation)", "q", "stability", "suspect"),
    )
    console.say(f"  {found.adjustment}")
    console.say(f"  {found.family_size} hypotheses in this family so far (runs/ledger.csv)")
    for sheet in found.kept_sheets:
        console.say(
            f"  KEPT {found.folder}/{sheet}: raters wrote there of phenotypes of another codebook;"
            f" those of this one are in {found.sheet}"
        )
    console.say(
        f"  for pathologists: {found.folder}/{found.sheet}/index.html; then `pathoml"
        " discover --labels FILE`"
    )
    return 0


def _say_labels(study: Study, labels: Path, console: Console) -> int:
    from pathoml.discovery.labels import read_labels, weigh_labels

    results = weigh_labels(study, read_labels(study, labels))
    console.heading(f"discover  labels of {results.raters} raters")
    console.table(results.rows, results.header)
    console.say(f"  written: {study.run_folder}/features/labels.json")
    return 0


def _say_spots(study: Study, spots: Path, slide_id: str, console: Console) -> int:
    from pathoml.discovery.spots import weigh_spots

    if not slide_id:
        raise ConfigError(
            "--spots needs --slide: the slide_id of the section that the spots were measured on."
        )
    found = weigh_spots(study, slide_id, spots)
    console.heading(
        f"discover  {found.genes} genes of {found.spots} spots on slide {slide_id} "
        f"({found.of_spots - found.spots} beside its tiles)"
    )
    rows = [
        (a.gene, a.feature, f"{a.rho:+.2f}", f"{a.p_value:.4f}", f"{a.q_value:.3f}")
        for a in found.associations[:ROWS_SHOWN]
    ]
    console.table(rows, ("gene", "feature", "Spearman's rho", "p (shifts)", "q"))
    console.say(f"  written: {study.run_folder}/features/spots/{slide_id}.csv")
    return 0
