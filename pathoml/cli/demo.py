"""`pathoml demo`: a synthetic study with known truth, and all of pathoml on it."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Context, Exit, Option

from pathoml.cli.console import Console

SETTINGS: dict[str, object] = {
    "splits": {"repeats": 3},
    "significance": {"permutations": 20},
}
PATIENTS, FEWEST_PATIENTS = 60, 12
TINY_PATIENTS, TINY_SIDE_UM, TINY_TEXTURES = 8, 560.0, 3
TINY_SETTINGS: dict[str, object] = {
    "cohort": {"covariates": ["age"]},
    "splits": {"folds": 2, "repeats": 1},
    "significance": {
        "permutations": 0,
        "bootstraps": 200,
    },  # eight patients may be told apart perfectly, which no test survives
}


def command(
    ctx: Context,
    folder: Annotated[Path, Argument(help="Where to put the synthetic study.")] = Path(
        "demo-study"
    ),
    patients: Annotated[
        int | None,
        Option(
            min=8,
            help="Patients of the synthetic cohort; claims need 60.",
            show_default="60, or 8 with --tiny",
        ),
    ] = None,
    seed: Annotated[int, Option(min=0, help="Seed of the synthetic cohort.")] = 1,
    tiny: Annotated[
        bool,
        Option(
            "--tiny", help="8 patients on small slides: a first look within minutes, no claims."
        ),
    ] = False,
    study: Annotated[
        str,
        Option(
            "--study",
            help=(
                "sts: only write the synthetic twin of the sarcoma study, two cohorts, to"
                " rehearse on."
            ),
        ),
    ] = "",
    scale: Annotated[
        str,
        Option(
            "--scale", help="Of --study: full, features only; small, fewer patients with slides."
        ),
    ] = "full",
) -> None:
    """Draw a synthetic multi-centre cohort with known truth and run all of pathoml on it."""
    if study:
        raise Exit(write_twin(folder, study, scale=scale, seed=seed, console=ctx.obj))
    raise Exit(run(folder, patients=patients, seed=seed, tiny=tiny, console=ctx.obj))


def run(folder: Path, *, patients: int | None, seed: int, tiny: bool, console: Console) -> int:
    """Draw the cohort unless it is there, run every step, and hold the result against the truth,
    or, if tiny, make no claim.
    """
    from pathoml.cli.run import run as run_steps
    from pathoml.config import load_study
    from pathoml.errors import ConfigError

    if not tiny and patients is not None and patients < FEWEST_PATIENTS:
        raise ConfigError(
            f"--patients {patients}: the demo needs at least {FEWEST_PATIENTS}, or --tiny, which"
            " claims nothing."
        )
    started = time.monotonic()
    if not (folder / "study.yaml").exists():
        from pathoml.synthetic.cohort import SIDE_UM, TEXTURES, write_cohort

        patients, settings = (
            (patients or TINY_PATIENTS, TINY_SETTINGS) if tiny else (patients or PATIENTS, SETTINGS)
        )
        side_um, textures = (TINY_SIDE_UM, TINY_TEXTURES) if tiny else (SIDE_UM, TEXTURES)
        console.heading(
            f"demo   {folder}: {patients} synthetic patients of three hospitals, drawn with seed"
            f" {seed}"
        )
        with console.bar("draw", "slides") as bar:
            write_cohort(
                folder,
                patients=patients,
                seed=seed,
                settings=settings,
                side_um=side_um,
                textures=textures,
                on_slide=bar,
            )
    study = load_study(folder)
    code = run_steps(study, console)
    if tiny:
        console.heading(
            "tiny   so few patients show what the files look like; none of their figures is a claim"
        )
    else:
        _compare_with_truth(folder, study.run_folder, console)
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    console.say(
        f"\nDone in {minutes} min {seconds} s. Synthetic data: it shows that the software works,"
        " nothing about patients."
    )
    page = shlex.quote(str(study.run_folder / "report.html"))
    console.say(f"  report:  python3 -m webbrowser {page}")
    console.say(f"  maps:    {study.run_folder}/attention/   scores: {study.run_folder}/scores.csv")
    console.say(f"  slides and maps in the browser: pathoml view {shlex.quote(str(folder))}")
    console.say(
        "  your own slides: pathoml init STUDY --slides FOLDER, fill in patients.csv, pathoml run"
        " STUDY"
    )
    return code


def write_twin(folder: Path, study: str, *, scale: str, seed: int, console: Console) -> int:
    """Write both cohorts of a study's synthetic twin; running them is scripts/rehearsal's.

    Raises:
        ConfigError: there is no such twin.
    """
    from pathoml.engines.local import available_workers
    from pathoml.errors import ConfigError
    from pathoml.synthetic.sts import write_sts

    if scale not in ("full", "small"):
        raise ConfigError(
            f"--scale {scale!r} is neither full, with features only, nor small, with slides."
        )
    if study != "sts":
        raise ConfigError(
            f"--study {study!r}: the only study with a synthetic twin is sts, soft-tissue sarcoma."
        )
    console.heading(f"demo   {folder}: the synthetic twin of the sarcoma study, seed {seed}")
    with console.bar("draw", "slides") as bar:
        folders = write_sts(
            folder, seed=seed, scale=scale, workers=available_workers(), on_slide=bar
        )
    console.say(
        "  what is planted lies in truth/; a few rows of the retrospective tables break the rules"
        " of timing on purpose"
    )
    for path in folders:
        console.say(f"  {path}: pathoml check {path}")
    return 0


def _compare_with_truth(folder: Path, run_folder: Path, console: Console) -> None:
    from pathoml.cli.evaluate import interval_text
    from pathoml.store.files import read_json
    from pathoml.store.maps import read_attention
    from pathoml.store.tables import read_table
    from pathoml.study.run_folder import RunFolder
    from pathoml.survival.concordance import stratified_harrell_c
    from pathoml.synthetic.truth import map_agreement

    truth = folder / "truth"
    oracle = {
        row["patient_id"]: float(row["log_risk"]) for row in read_table(truth / "truth.csv").rows
    }
    patients = read_table(folder / "patients.csv").rows
    content: dict[str, Any] = read_json(RunFolder(run_folder).metrics)
    headline = content["headline"]
    within = [p["centre"] if headline != "harrell_c" else "" for p in patients]
    oracle_c = stratified_harrell_c(
        [oracle[p["patient_id"]] for p in patients],
        [float(p["pfs_months"]) for p in patients],
        [p["pfs_event"] == "1" for p in patients],
        stratum=within,
    )
    classes = read_json(truth / "classes.json")
    names = {name: int(number) for number, name in classes.items() if number.isdigit()}
    console.heading("truth  what was planted, and what was found")
    console.say(
        f"  Harrell's C out of fold {interval_text(content[headline])}; the oracle, which knows the"
        f" hazard, {oracle_c:.3f}"
    )
    console.say(f"  ridge Cox on mean embeddings {interval_text(content['ridge_cox'][headline])}")
    if classes.get("driver") not in names:
        return
    maps = [read_attention(path) for path in RunFolder(run_folder).maps()]
    agreement = map_agreement(maps, truth, names[classes["driver"]], n_classes=max(names.values()))
    console.say(
        f"  map against the planted {classes['driver']} tissue, AUC over {agreement.tiles} tiles: "
        f"contribution {agreement.contribution:.2f} (mean of slides "
        f"{agreement.contribution_by_slide:.2f}), attention alone {agreement.attention:.2f}"
    )
