"""`pathoml init`: a study folder to fill in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Context, Exit, Option

from pathoml.cli.console import Console

if TYPE_CHECKING:
    from pathoml.slides.finding import FoundSlide

MOST_NAMED = 3  # of what was passed over for one reason
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
    pseudonyms: Annotated[
        Path | None,
        Option(
            "--pseudonyms",
            metavar="KEYFILE",
            help=(
                "Give slides and patients neutral ids, and keep in this file, outside the study,"
                " whose they are."
            ),
        ),
    ] = None,
) -> None:
    """Write study.yaml, slides.csv and a patients.csv to fill in."""
    raise Exit(run(study, slides, ctx.obj, key=pseudonyms))


def run(study: Path, slides: Path, console: Console, *, key: Path | None = None) -> int:
    """Write study.yaml, slides.csv and patients.csv; nothing that is there is overwritten.

    Args:
        key: where it is to be kept which slide has which neutral id; None for ids from the names of
            files.
    """
    from pathoml.errors import ConfigError
    from pathoml.slides.finding import SLIDE_SUFFIXES, find_slides
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
    if key is not None:
        _refuse_key_within(key, study)
    found = find_slides(slides)
    _say_passed_over(found.passed_over, slides, console, named=key is None)
    if not found.slides:
        raise ConfigError(
            f"{slides} holds no slides ({', '.join(sorted(SLIDE_SUFFIXES))}, or DICOM slides)."
        )
    rows = (
        _plain_rows(found.slides)
        if key is None
        else _neutral_rows(found.slides, study, key, console)
    )
    study.mkdir(parents=True, exist_ok=True)
    write_table(study / "slides.csv", ("slide_id", "patient_id", "path", "specimen"), rows)
    write_table(
        study / "patients.csv",
        ("patient_id", "centre", "pfs_months", "pfs_event"),
        [(patient_id, "", "", "") for patient_id in dict.fromkeys(row[1] for row in rows)],
    )
    (study / "study.yaml").write_text(STUDY_YAML, encoding="utf-8")
    console.say(f"{len(rows)} slides found. Now, in {study}:")
    console.say(
        "  1. slides.csv: put the patient's id into patient_id (each slide is its own patient until"
        " then), primary or metastasis"
    )
    console.say("     into specimen.")
    console.say("  2. patients.csv: one row per patient with centre, time and event.")
    console.say("  3. study.yaml: say the endpoint.")
    console.say(f"Then: pathoml check {study}, and pathoml run {study}")
    return 0


def _plain_rows(slides: Sequence[FoundSlide]) -> list[tuple[str, str, str, str]]:
    paths = [slide.path for slide in slides]
    return [(i, i, str(path.resolve()), "") for i, path in zip(unique_ids(paths), paths)]


def _neutral_rows(
    slides: Sequence[FoundSlide], study: Path, key: Path, console: Console
) -> list[tuple[str, str, str, str]]:
    """Write the key and the links; return the rows of slides.csv, in the order of the ids."""
    from pathoml.slides.pseudonyms import (
        LINKS,
        draw_pseudonyms,
        link_slide,
        read_key,
        write_key,
    )

    known = read_key(key)
    drawn = draw_pseudonyms(slides, known)
    alone = write_key(key, {**known, **{row.file: row for row in drawn}}.values())
    rows = []
    for slide, name in zip(slides, drawn):
        opens = link_slide(slide, name.slide_id, study / LINKS)
        rows.append((name.slide_id, name.patient_id, str(opens.relative_to(study)), ""))
    console.say(
        f"{key} says which slide is which; keep it apart from the study, and write the ids of"
        " slides.csv, not those of the hospital, into the tables."
    )
    if not alone:
        console.say(
            f"  WARNING others may read {key}: its file system keeps no permissions. Move it to one"
            " that does."
        )
    return sorted(rows)


def _refuse_key_within(key: Path, study: Path) -> None:
    from pathoml.errors import ConfigError

    if key.is_dir():
        raise ConfigError(f"--pseudonyms: {key} is a folder. Give a file, such as {key}/key.csv.")
    if key.resolve().is_relative_to(study.resolve()):
        raise ConfigError(
            f"--pseudonyms: {key} lies in the study, which is what others get to see. Give a file"
            " outside of it."
        )


def _say_passed_over(
    passed_over: Mapping[str, Sequence[Path]], slides: Path, console: Console, *, named: bool
) -> None:
    """Say what below the folder is no slide, and why; by name only where names may be said."""
    for why, paths in sorted(passed_over.items()):
        first = ", ".join(str(path.relative_to(slides)) for path in paths[:MOST_NAMED])
        more = ", ..." if len(paths) > MOST_NAMED else ""
        console.say(
            f"  passed over, {why}: {len(paths)}{f' ({first}{more})' if named else ''}",
            passed_over=len(paths),
        )


def unique_ids(paths: Sequence[Path]) -> list[str]:
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
