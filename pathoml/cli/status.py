"""`pathoml status`: how far a study is, from its files, and from the cluster where jobs were submitted."""

from __future__ import annotations

from pathlib import Path

from pathoml.cli.console import Console
from pathoml.config import Study

RUN_STEPS = {
    "train": ("scores.csv",),
    "evaluate": ("metrics.json", "permutation.json"),
    "explain": ("attention", "faithfulness.json"),
    "discover": ("features",),
    "report": ("report.html",),
}


def run(study: Study, console: Console) -> int:
    """Print one line a step; nothing is changed. Returns 1 if a slide failed."""
    from pathoml.cohort import read_cohort
    from pathoml.errors import ConfigError
    from pathoml.slurm_jobs import job_states
    from pathoml.study import embeddings_folder, tiles_folder

    cohort = read_cohort(study)
    ids = {slide.slide_id for slide in cohort.slides}
    try:
        jobs, unknown = job_states(study), ""
    except ConfigError as error:
        jobs, unknown = {}, str(error)
    said = {step: ", ".join(f"{count} {state}" for state, count in sorted(states.items())) for step, states in jobs.items()}
    console.heading(f"status  {len(cohort.patients)} patients, {len(ids)} slides")
    failures: dict[str, str] = {}
    rows: list[tuple[str, str, int | str, str]] = []
    for step, folder in (("tile", tiles_folder(study)), ("embed", embeddings_folder(study))):
        done = {path.stem for path in folder.glob("*.h5")} & ids
        failed = {slide: reason for slide, reason in failed_slides(folder).items() if slide in ids - done}
        failures |= {f"{step} {slide}": reason for slide, reason in failed.items()}
        rows.append((step, f"{len(done)} of {len(ids)} slides", len(failed) or "", said.get(step, "")))
    for step, outputs in RUN_STEPS.items():
        rows.append((step, run_step_state(study.run_folder, step, outputs), "", said.get("run", "") if step == "train" else ""))
    console.table(rows, ("step", f"runs/{study.config.run}", "failed", "jobs"))
    for slide, reason in sorted(failures.items()):
        console.say(f"  FAILED {slide}: {reason}")
    if unknown:
        console.say(f"  The cluster's jobs are unknown here: {unknown}")
    return int(bool(failures))


def failed_slides(folder: Path) -> dict[str, str]:
    """Return slide_id -> reason from failures.csv and those of shards."""
    from pathoml.tables import read_table

    return {row["slide_id"]: row["reason"] for path in sorted(folder.glob("failures*.csv")) for row in read_table(path).rows}


def run_step_state(folder: Path, step: str, outputs: tuple[str, ...]) -> str:
    """Return "done", "to do", or "to do again" where a file that the step read has changed since."""
    from pathoml.provenance import file_hash
    from pathoml.store import read_json

    path = folder / "provenance.json"
    entry = read_json(path)["steps"].get(step) if path.exists() else None
    if entry is None or not all((folder / name).exists() for name in outputs):
        return "to do"
    files = {name: value for name, value in entry["inputs"].items() if name.endswith((".csv", ".json", ".yaml"))}
    return "done" if all(file_hash(folder / name) == value for name, value in files.items()) else "to do again"
