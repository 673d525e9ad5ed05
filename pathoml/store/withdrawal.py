"""A patient withdraws: what is derived from their slides and rows goes, and what has learned from
them is listed.

Slide files are the hospital's and are never touched; they are listed. A run holds the patient in
every table and model, so the whole run goes and `pathoml run` makes it anew from the others. A
locked bundle cannot be made anew: it is listed as affected, and goes only if that is asked for. At
the end every file of the study is searched for the ids, so that what is left is known.

Source: GDPR, articles 7(3) and 17: consent may be withdrawn, and what rested on it is then erased.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathoml.config import Study
from pathoml.errors import CohortError
from pathoml.store.files import atomic_path, read_json, write_text
from pathoml.store.packs import drop_packed, packed_files
from pathoml.store.provenance import MODELS, MODELS_INDEX
from pathoml.store.raw_tables import CODECS, SEPARATORS, plain_cell
from pathoml.store.readings import Readings
from pathoml.store.tables import find_table, read_study_table, read_table

STEMS = ("patients", "slides")
SEARCHED_BYTES = 2**20  # read at once when files are searched


@dataclass(frozen=True, kw_only=True)
class Withdrawal:
    """What a withdrawal concerns, before anything is removed."""

    patient_id: str
    slide_ids: tuple[str, ...]
    slide_files: tuple[str, ...]  # as slides.csv has them; the hospital's to remove
    files: tuple[Path, ...]  # of tiles/, embeddings/ (packed ones too), the cluster's logs
    runs: tuple[Path, ...]  # folders below runs/ that hold the patient
    bundles: tuple[Path, ...]  # locked models that have learned from the patient


def plan_withdrawal(study: Study, patient_id: str) -> Withdrawal:
    """Find all that names the patient or their slides.

    Raises:
        CohortError: no table names this patient, or a table is a workbook, whose rows must be
            removed by hand.
    """
    slides = read_study_table(study, "slides")
    patients = read_study_table(study, "patients")
    for table in (patients, slides):
        if table.path.suffix != ".csv":
            raise CohortError(
                f"{table.path.name} is a workbook, which is not rewritten here. Save it as"
                f" {table.path.stem}.csv first."
            )
    mine = [row for row in slides.rows if row["patient_id"] == patient_id]
    if not mine and not any(row["patient_id"] == patient_id for row in patients.rows):
        raise CohortError(
            f"Neither patients.csv nor slides.csv names patient {patient_id!r}. Ids are written as"
            " in the tables."
        )
    ids = tuple(row["slide_id"] for row in mine)
    names = mentions([patient_id, *ids])
    folders = [*study.all_tiles.glob("*"), *study.all_embeddings.glob("*")]
    files = [
        path
        for folder in folders
        for path in folder.iterdir()
        if path.is_file() and path.name.rsplit(".", 1)[0] in ids
    ]
    files += [
        folder / f"{i}.h5"
        for folder in study.all_embeddings.glob("*")
        for i in ids
        if f"{i}.h5" in packed_files(folder)
    ]
    files += [path for path in (study.folder / "slurm").glob("*.log") if holds(path, names)]
    runs = [
        path
        for path in sorted(study.runs_folder.glob("*"))
        if path.is_dir() and any_holds(path, names)
    ]
    bundles = [
        path.parent
        for path in sorted(study.bundles_folder.glob("*/bundle.json"))
        if patient_id in trained_on(path.parent)
    ]
    return Withdrawal(
        patient_id=patient_id,
        slide_ids=ids,
        slide_files=tuple(row["path"] for row in mine if row.get("path")),
        files=tuple(sorted(set(files))),
        runs=tuple(runs),
        bundles=tuple(bundles),
    )


def withdraw(study: Study, plan: Withdrawal, *, bundles_too: bool) -> list[Path]:
    """Remove what the plan names and return the files of the study that still name the patient or a
    slide of theirs.

    Readings of the slides are forgotten, whoever calls. The sheet of the tiles goes, and `tile`
    draws it anew.

    Args:
        bundles_too: remove the locked models as well; without it they stay and are among the files
            returned.
    """
    readings = study.readings_file
    if readings.exists():
        Readings(readings).forget(plan.slide_ids)
    for folder in (*plan.runs, *(plan.bundles if bundles_too else ())):
        shutil.rmtree(folder)
    for path in plan.files:
        path.unlink(missing_ok=True)
    for folder in [*study.all_tiles.glob("*/"), *study.all_embeddings.glob("*/")]:
        drop_packed(folder, {path.name for path in plan.files if path.parent == folder})
        for table in (*folder.glob("failures*.csv"), *folder.glob("quality.csv")):
            remove_rows(table, "slide_id", plan.slide_ids)
        if folder.parent == study.all_tiles:
            (folder / "index.html").unlink(missing_ok=True)
    for stem in STEMS:
        remove_rows(find_table(study.folder, stem), "patient_id", [plan.patient_id])
    names = mentions([plan.patient_id, *plan.slide_ids])
    return [
        path
        for path in files_below(study.folder)
        if path.parts[len(study.folder.parts)] != "slides" and holds(path, names)
    ]


def trained_on(bundle: Path) -> set[str]:
    """Return the patients from whom the models of a bundle have learned."""
    index = bundle / MODELS / MODELS_INDEX
    return (
        {patient for entry in read_json(index)["models"] for patient in entry["train"]}
        if index.exists()
        else set()
    )


def remove_rows(path: Path, column: str, values: Iterable[str]) -> None:
    """Remove the rows of a CSV that have one of the values; separator, encoding and all other cells
    stay as they are.
    """
    table = read_table(path, needs=(column,))
    mark, encoding = table.understood.split(", ")
    separator, codec = SEPARATORS[mark], CODECS[encoding]
    raw = path.read_bytes().decode("utf-8-sig" if codec == "utf-8" else codec)
    rows = list(csv.reader(io.StringIO(raw, newline=""), delimiter=separator))
    first = table.header_line - 1
    place, unwanted = [plain_cell(cell) for cell in rows[first]].index(column), set(values)
    kept = [
        cells
        for n, cells in enumerate(rows)
        if n <= first or len(cells) <= place or plain_cell(cells[place]) not in unwanted
    ]
    text = io.StringIO(newline="")
    csv.writer(
        text, delimiter=separator, lineterminator="\r\n" if "\r\n" in raw else "\n"
    ).writerows(kept)
    if codec == "utf-8":
        write_text(path, text.getvalue())
    else:
        with atomic_path(path) as temporary:
            temporary.write_bytes(text.getvalue().encode(codec))


def mentions(ids: Sequence[str]) -> re.Pattern[bytes]:
    """Return a pattern that finds one of the ids as a whole word: P1 is not in P10 or XP1.

    >>> [bool(mentions(["P1"]).search(text)) for text in (b"P10,XP1", b"a,P1,b", b"P1_2.png")]
    [False, True, False]
    """
    words = b"|".join(re.escape(i.encode()) for i in sorted(ids, key=len, reverse=True))
    return re.compile(rb"(?<![A-Za-z0-9_])(?:" + words + rb")(?![A-Za-z0-9_])")


def holds(path: Path, names: re.Pattern[bytes]) -> bool:
    """Return whether a file's name or content mentions one of the ids."""
    if names.search(path.stem.encode()):
        return True
    tail = b""
    with path.open("rb") as file:
        while block := file.read(SEARCHED_BYTES):
            if names.search(tail + block):
                return True
            tail = block[-256:]
    return False


def any_holds(folder: Path, names: re.Pattern[bytes]) -> bool:
    """Return whether any file below a folder mentions one of the ids."""
    return any(holds(path, names) for path in files_below(folder))


def files_below(folder: Path) -> list[Path]:
    """Return the files below a folder, sorted; links are not followed."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
