"""`pathoml status`: how far a study is, from its files, and from the cluster where jobs were
submitted.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from typer import Context, Exit

from pathoml.cli.arguments import SetOption, StudyArgument
from pathoml.cli.console import Console

if TYPE_CHECKING:
    from pathoml.config import Study

JOB_OF = {
    "train": "train",
    "evaluate": "permute",
    "explain": "run",
}  # the rest is done by the last job
MANY_FILES = 10_000  # a shared file system's quota of files is felt from here on


def command(ctx: Context, study: StudyArgument = Path(), settings: SetOption = None) -> None:
    """Say which steps are done, for how many slides, what failed, why a step is to do again, which
    cluster jobs still run.
    """
    from pathoml.config import load_study

    raise Exit(run(load_study(study, settings or ()), ctx.obj))


def run(study: Study, console: Console) -> int:
    """Print one line a step, and why one is to do again; nothing is changed. Returns 1 if a slide
    failed.
    """
    from pathoml.compute.slurm import job_states
    from pathoml.errors import ConfigError
    from pathoml.pipeline import PER_SLIDE, step_states
    from pathoml.store.failures import failed_slides
    from pathoml.store.packs import pack_paths, stored_paths
    from pathoml.store.published import published_by
    from pathoml.study.cohort import read_cohort
    from pathoml.study.layout import embeddings_folder, scales, tiles_folder, vectors_encoding
    from pathoml.study.no_map import no_map

    cohort = read_cohort(study)
    ids = {slide.slide_id for slide in cohort.slides}
    try:
        jobs, unknown = job_states(study), ""
    except ConfigError as error:
        jobs, unknown = {}, str(error)
    said = {
        step: ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        for step, states in jobs.items()
    }
    console.heading(f"status  {len(cohort.patients)} patients, {len(ids)} slides")
    failures: dict[str, str] = {}
    rows: list[tuple[str, str, int | str, str]] = []
    parts = scales(study)
    folders = [("embed", embeddings_folder(part)) for part in parts]
    if not vectors_encoding(study):
        folders = [("tile", tiles_folder(part)) for part in parts] + folders
    for step, folder in [
        *folders,
        *([("join", embeddings_folder(study))] if len(parts) > 1 else []),
    ]:
        done = {path.stem for path in stored_paths(folder)} & ids
        failed = {
            slide: reason for slide, reason in failed_slides(folder).items() if slide in ids - done
        }
        failures |= {f"{step} {slide}": reason for slide, reason in failed.items()}
        label = f"{step} {folder.name}" if len(parts) > 1 else step
        rows.append(
            (label, f"{len(done)} of {len(ids)} slides", len(failed) or "", said.get(step, ""))
        )
    states = step_states(study, cohort)
    for step, one in states.items():
        if step not in PER_SLIDE:
            rows.append((step, one.state, "", said.get(JOB_OF.get(step, ""), "")))
    console.table(rows, ("step", f"runs/{study.config.run}", "failed", "jobs"))
    if len(ids) > MANY_FILES and not pack_paths(embeddings_folder(study)):
        console.say(
            f"  over {MANY_FILES} files of embeddings; `pathoml pack` puts them into few large ones"
        )
    if by := published_by(study.run_folder):
        console.say(f"  runs/{study.config.run} is published ({by}): nothing writes over it")
    if sentence := no_map(study, cohort):
        console.say(f"  {sentence}")
    for step, one in states.items():
        if one.state == "to do again":
            console.say(f"  {step} is to do again: {'; '.join(one.why)}")
    for slide, reason in sorted(failures.items()):
        console.say(f"  FAILED {slide}: {reason}")
    if unknown:
        console.say(f"  The cluster's jobs are unknown here: {unknown}")
    return int(bool(failures))
