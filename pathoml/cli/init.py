"""`pathoml init`: a study folder to fill in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Context, Exit, Option

from pathoml.cli.console import Console

SLIDE_SUFFIXES = {
    ".svs",
    ".tif",
    ".tiff",
    ".ndpi",
    ".mrxs",
    ".scn",
    ".bif",
    ".vms",
    ".vmu",
    ".svslide",
    ".czi",
    ".png",
    ".jpg",
    ".jpeg",
}
STUDY_YAML = """# Every key with its unit and default: pathoml config schema
endpoint:
  name: progression-free survival
  time_zero: first local ablative therapy   # the day that time counts from, as a sentence
  time: pfs_months                          # column of patients.csv
  event: pfs_event                          # column: 0 censored, 1 event, 2 competing event
  unit: months                              # or days
# further endpoints, each with the keys of endpoint: trained on its folds, reported beside it
secondary_endpoints: []
cohort:
  centre: centre
  # columns of the clinical model, for example [age, n_lesions]
  covariates: []
encoder: efficientnet_lite0                 # a file in pathoml/encoders/
"""


def command(
    ctx: Context,
    study: Annotated[Path, Argument(help="The study folder to make.")],
    slides: Annotated[Path, Option("--slides", help="The folder with the slides.")],
) -> None:
    """Write study.yaml, slides.csv and a patients.csv to fill in."""
    raise Exit(run(study, slides, ctx.obj))


def run(study: Path, slides: Path, console: Console) -> int:
    """Write study.yaml, slides.csv and patients.csv; nothing that is there is overwritten."""
    from pathoml.errors import ConfigError
    from pathoml.store.tables import table_names, write_table

    if not slides.is_dir():
        raise ConfigError(
            f"{slides} is not a folder. Give the folder with the slides: pathoml init {study} "
            "--slides FOLDER."
        )
    there = [
        name
        for name in ("study.yaml", *table_names("slides"), *table_names("patients"))
        if (study / name).exists()
    ]
    if there:
        raise ConfigError(
            f"{study} has {there[0]} already; nothing was changed. Choose another folder, or move"
            " it away."
        )
    found = find_slides(slides)
    if not found:
        raise ConfigError(
            f"{slides} holds no slides ({', '.join(sorted(SLIDE_SUFFIXES))}, or folders of .dcm"
            " files)."
        )
    study.mkdir(parents=True, exist_ok=True)
    ids = unique_ids(found)
    rows = [(slide_id, slide_id, str(path.resolve()), "") for slide_id, path in zip(ids, found)]
    write_table(study / "slides.csv", ("slide_id", "patient_id", "path", "specimen"), rows)
    write_table(
        study / "patients.csv",
        ("patient_id", "centre", "pfs_months", "pfs_event"),
        [(i, "", "", "") for i in ids],
    )
    (study / "study.yaml").write_text(STUDY_YAML, encoding="utf-8")
    console.say(f"{len(found)} slides found. Now, in {study}:")
    console.say(
        "  1. slides.csv: put the patient's id into patient_id (each slide is its own patient until"
        " then), primary or metastasis"
    )
    console.say("     into specimen.")
    console.say("  2. patients.csv: one row per patient with centre, time and event.")
    console.say("  3. study.yaml: say the endpoint.")
    console.say(f"Then: pathoml check {study}, and pathoml run {study}")
    return 0


def find_slides(folder: Path) -> list[Path]:
    """Return the slides below a folder, sorted; a folder of nothing but .dcm files is one slide."""
    found = {
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix.lower() in SLIDE_SUFFIXES
    }
    mixed = {path.parent for path in found} | {folder}
    found |= {path if path.parent in mixed else path.parent for path in folder.rglob("*.dcm")}
    return sorted(found)


def unique_ids(paths: list[Path]) -> list[str]:
    """Return one id a slide: the file's stem, with a number where two are alike; only characters
    that a file name may have.
    """
    ids: list[str] = []
    for path in paths:
        stem = (
            "".join(
                c if (c.isalnum() and c.isascii()) or c in "._-" else "_" for c in path.stem
            ).strip("._-")
            or "slide"
        )
        candidate, number = stem, 2
        while candidate in ids:
            candidate, number = f"{stem}-{number}", number + 1
        ids.append(candidate)
    return ids
