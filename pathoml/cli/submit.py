"""`pathoml submit`: the study as jobs of a SLURM cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Context, Exit, Option

from pathoml.cli.ahead import refuse_what_does_not_fit
from pathoml.cli.arguments import SetOption, StudyArgument
from pathoml.cli.console import Console

if TYPE_CHECKING:
    from pathoml.config import Study


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line said."""

    shards: int
    every: list[str]
    gpu: list[str]
    settings: list[str]
    dry_run: bool


def command(
    ctx: Context,
    study: StudyArgument = Path(),
    shards: Annotated[
        int,
        Option(min=1, max=10_000, help="Jobs that share slides, permutations and resamples."),
    ] = 8,
    sbatch: Annotated[
        list[str] | None,
        Option("--sbatch", help="An option of sbatch for every job: --partition=long."),
    ] = None,
    gpu: Annotated[
        list[str] | None,
        Option("--gpu", help="An option of sbatch for embedding and training: --gres=gpu:1."),
    ] = None,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Write the scripts and submit nothing.")
    ] = False,
    settings: SetOption = None,
) -> None:
    """Run the study on a SLURM cluster: arrays of jobs that tile, embed and permute, one that
    trains, and one for the rest.
    """
    from pathoml.config import load_study

    loaded = load_study(study, settings or ())
    options = Options(
        shards=shards, every=sbatch or [], gpu=gpu or [], settings=settings or [], dry_run=dry_run
    )
    raise Exit(run(loaded, options, ctx.obj))


def run(study: Study, options: Options, console: Console) -> int:
    """Check the tables, write STUDY/slurm/*.sh and submit them."""
    from pathoml.compute.slurm import Resources, submit_scripts, write_scripts
    from pathoml.pipeline import refuse_published
    from pathoml.study.cohort import read_cohort
    from pathoml.study.layout import scales

    cohort = read_cohort(study)  # a wrong table is said here, not in a log on the cluster
    refuse_published(study)
    refuse_what_does_not_fit(study)
    resources = Resources(shards=options.shards, every=options.every, gpu=options.gpu)
    scripts = write_scripts(study, resources, options.settings, joins=len(scales(study)) > 1)
    console.heading(f"submit  {len(cohort.slides)} slides in {options.shards} parts")
    if options.dry_run:
        for script in scripts.values():
            console.say(f"  wrote {script}")
        console.say("  nothing was submitted (--dry-run)")
        return 0
    for step, job in submit_scripts(study, scripts, options.shards).items():
        console.say(f"  {step}: job {job}")
    console.say(f"  how far it is: pathoml status {study.folder}; logs: {study.folder}/slurm/*.log")
    return 0
