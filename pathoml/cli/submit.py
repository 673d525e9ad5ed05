"""`pathoml submit`: the study as jobs of a SLURM cluster."""

from __future__ import annotations

from dataclasses import dataclass

from pathoml.cli.console import Console
from pathoml.config import Study


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line said."""

    shards: int
    every: list[str]
    gpu: list[str]
    settings: list[str]
    dry_run: bool


def run(study: Study, options: Options, console: Console) -> int:
    """Check the tables, write STUDY/slurm/*.sh and submit them."""
    from pathoml.compute.slurm import Resources, submit_scripts, write_scripts
    from pathoml.study.cohort import read_cohort
    from pathoml.study.layout import scales

    cohort = read_cohort(study)  # a wrong table is said here, not in a log on the cluster
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
