"""A patient withdraws: what is derived from their slides and rows goes, and what has learned from
them is listed.

Slide files are the hospital's and are never touched; they are listed, and so are tables, notes and
copies that people made. A run holds the patient in every table and model, so the whole run goes and
`pathoml run` makes it anew from the others; what raters wrote of the others' slides is kept, with
the key that says which they are. A locked bundle cannot be made anew: it is listed as affected, and
goes only if that is asked for. At the end the study is searched again, so that what is left is
known.

Whom it concerns is written down before anything is removed, and that goes last: a withdrawal that
was interrupted is finished by the next one, and until then no step reads the patient's rows.

Source: GDPR, articles 7(3) and 17: consent may be withdrawn, and what rested on it is then erased.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pathoml.config import Study
from pathoml.errors import CohortError, nearest
from pathoml.store.files import atomic_path, read_json, sweep_temporaries, write_json
from pathoml.store.mentions import ITEM, Ids
from pathoml.store.packs import drop_packed, stored_paths
from pathoml.store.provenance import MODELS, MODELS_INDEX
from pathoml.store.ratings import ABOUT, KEY, naming_sheets, state_codebook
from pathoml.store.raw_tables import CODECS, SEPARATORS, plain_cell
from pathoml.store.readings import Readings
from pathoml.store.removal import Failed, attempt, remove_folder, remove_run
from pathoml.store.tables import WITHDRAWING, as_it_was, find_table, read_table, table_names
from pathoml.store.withdrawal_search import (
    OURS,
    STEMS,
    Held,
    find_held,
    ratings,
)
from pathoml.store.workbook_rows import remove_workbook_rows, rows_to_remove


@dataclass(frozen=True, kw_only=True)
class Withdrawal:
    """What a withdrawal concerns, before anything is removed."""

    ids: Ids
    slide_files: tuple[str, ...]  # as slides.csv has them; the hospital's to remove
    tables: tuple[Path, ...]  # of slides and patients that name them
    held: Held
    ratings: tuple[Path, ...]  # in the runs that go: kept, without the patient's slides
    readings: int  # of these slides, in the viewer
    resumed: tuple[str, ...] = ()  # patients of a withdrawal that was not finished
    # slides with tiles or embeddings that slides.csv does not name, where it does not say which
    # slides a patient had
    unclaimed: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of tiles/, embeddings/ (packed ones too), the cluster's logs."""
        return self.held.files

    @property
    def runs(self) -> tuple[Path, ...]:
        return self.held.runs

    @property
    def bundles(self) -> tuple[Path, ...]:
        return self.held.bundles

    @property
    def slide_ids(self) -> tuple[str, ...]:
        return tuple(sorted(self.ids.slides))


@dataclass(frozen=True, kw_only=True)
class Left:
    """What is left after a withdrawal."""

    names: tuple[Path, ...]  # files, and locked models, that name the patient or a slide still
    unseen: tuple[tuple[Path, str], ...]  # (path, why it was not searched)
    away: tuple[Path, ...]  # those of them that pathoml wrote
    failed: tuple[tuple[Path, str], ...]  # (path, why it could not be removed)


def plan_withdrawal(study: Study, *patient_ids: str, slides: Iterable[str] = ()) -> Withdrawal:
    """Find all that holds patients or their slides.

    Args:
        patient_ids: as in patients.csv; none to finish a withdrawal that was interrupted.
        slides: more slides to withdraw, such as those that slides.csv no longer names.

    Raises:
        CohortError: nothing in the study names one of them.
    """
    tables = {stem: path for stem in STEMS if (path := _table(study.folder, stem))}
    rows = {stem: read_table(path, needs=("patient_id",)).rows for stem, path in tables.items()}
    begun = _begun(study)
    patients = {*patient_ids, *begun.get("patients", [])}
    mine = [row for row in rows.get("slides", ()) if row.get("patient_id") in patients]
    wanted = {*slides, *begun.get("slides", [])}
    mine += [r for r in rows.get("slides", ()) if r.get("slide_id") in wanted and r not in mine]
    everybody = [row for stem in rows for row in rows[stem]]
    my_slides = frozenset({*wanted, *(row.get("slide_id", "") for row in mine)} - {""})
    ids = Ids(
        patients=frozenset(patients),
        slides=my_slides,
        items=frozenset(begun.get("items", [])) | _items_of(study, my_slides),
        other_patients=frozenset(
            {row.get("patient_id", "") for row in everybody} - patients - {""}
        ),
        other_slides=frozenset(
            {row.get("slide_id", "") for row in rows.get("slides", ()) if row not in mine} - {""}
        ),
    )
    paths = [row["path"] for row in mine if row.get("path")]
    held = find_held(
        study,
        ids,
        slide_files=[study.folder / path for path in paths],
        slide_folders=_slide_folders(study, rows.get("slides", ())),
    )
    named = {row.get("patient_id") for row in everybody} | set(begun.get("patients", []))
    for patient in patient_ids:
        if patient not in named and not _anything(study, patient, ids, held):
            raise CohortError(
                f"Neither patients.csv nor slides.csv names patient {patient!r}, nor does any other"
                " file of the study."
                f"{nearest(patient, [one for one in named if one])} Ids are written as in the"
                " tables."
            )
    for path in tables.values():
        if path.suffix != ".csv":
            for column, values in (("patient_id", ids.patients), ("slide_id", ids.slides)):
                rows_to_remove(path, column, values)  # refused before anything is removed
    unknown = sorted({*slides} - {row.get("slide_id") for row in mine})
    if unknown and not any((held.files, held.tables, held.runs, held.copies, held.listed)):
        raise CohortError(
            f"No file of the study names slide {unknown[0]!r}."
            f"{nearest(unknown[0], ids.other_slides)} Ids are written as in slides.csv."
        )
    readings = Readings(study.readings_file).rows() if study.readings_file.exists() else []
    return Withdrawal(
        ids=ids,
        slide_files=tuple(paths),
        tables=tuple(
            path
            for stem, path in tables.items()
            if any(
                row.get("patient_id") in patients or row.get("slide_id") in ids.slides
                for row in rows[stem]
            )
        ),
        held=held,
        ratings=tuple(path for run in held.runs for path in ratings(run)),
        readings=sum(row["slide_id"] in ids.slides for row in readings),
        resumed=tuple(sorted(set(begun.get("patients", [])) - set(patient_ids))),
        unclaimed=() if patients <= {r.get("patient_id") for r in mine} else _unclaimed(study, ids),
    )


def withdraw(study: Study, plan: Withdrawal, *, bundles_too: bool) -> Left:
    """Remove what the plan names and return what still names the patient or a slide of theirs.

    Readings of the slides are forgotten, whoever calls. The sheet of the tiles goes, and `tile`
    draws it anew. What cannot be removed is skipped and returned; called again, it goes on.

    Args:
        bundles_too: remove the locked models as well; without it they stay and are among the files
            returned.
    """
    ids, held, begun = plan.ids, plan.held, _begun(study)
    journal = study.folder / WITHDRAWING
    # what was half removed when a withdrawal was interrupted no longer names anybody
    wholes = {
        kind: sorted({*begun.get(kind, []), *(str(p.relative_to(study.folder)) for p in paths)})
        for kind, paths in {
            "runs": held.runs,
            "copies": held.copies,
            "bundles": held.bundles if bundles_too else (),
        }.items()
    }
    write_json(journal, {"patients": sorted(ids.patients), "slides": sorted(ids.slides), **wholes})
    failed: Failed = []
    for path in plan.tables:  # first, so that nobody learns from the patient any more
        attempt(path, failed, partial(_remove_study_rows, path, ids))
    if study.readings_file.exists():
        Readings(study.readings_file).forget(plan.slide_ids)
    for path in held.files:
        attempt(path, failed, partial(path.unlink, missing_ok=True))
    for path in held.tables:
        attempt(path, failed, partial(_remove_derived_rows, path, ids))
    for folder in [*study.all_tiles.glob("*/"), *study.all_embeddings.glob("*/")]:
        drop_packed(folder, {path.name for path in held.files if path.parent == folder})
        if folder.parent == study.all_tiles and ids.slides:
            (folder / "index.html").unlink(missing_ok=True)
    for kind in ("runs", "copies", "bundles"):
        for folder in (study.folder / name for name in wholes[kind]):
            if folder.exists():
                if kind == "runs":
                    kept = _keep_ratings(folder, ids, failed)
                    remove_run(folder, failed, kept=kept)
                else:
                    remove_folder(folder, failed)
            elif folder.is_symlink():
                failed.append((folder, f"a link that leads nowhere: {folder.readlink()}"))
    sweep_temporaries(study.folder)  # what a killed job left holds rows and ids too
    left = find_held(study, ids, slide_folders=_folders_of(study))
    if not failed:
        journal.unlink(missing_ok=True)
    return Left(
        names=tuple(
            path
            for paths in (
                left.files, left.tables, left.runs, left.copies,
                [bundle / MODELS / MODELS_INDEX for bundle in left.bundles], left.listed,
            )
            for path in paths
        ),
        unseen=left.unseen,
        away=left.away,
        failed=tuple(failed),
    )  # fmt: skip


def _begun(study: Study) -> Mapping[str, Any]:
    journal = study.folder / WITHDRAWING
    return read_json(journal) if journal.exists() else {}


def _table(folder: Path, stem: str) -> Path | None:
    if not any((folder / name).exists() for name in table_names(stem)):
        return None
    return find_table(folder, stem)


def _slide_folders(study: Study, rows: Iterable[Mapping[str, str]]) -> set[Path]:
    """Return the folders of the slides, but those that hold other things of the study too."""
    folders = {(study.folder / row["path"]).parent for row in rows if row.get("path")}
    ours = {study.folder / name for name in OURS}
    return {one for one in folders if one != study.folder and ours.isdisjoint({one, *one.parents})}


def _folders_of(study: Study) -> set[Path]:
    path = _table(study.folder, "slides")
    return _slide_folders(study, read_table(path, needs=("patient_id",)).rows) if path else set()


def _items_of(study: Study, slides: Collection[str]) -> set[str]:
    """Return the codes of slides on the naming sheets of all runs."""
    return {
        item
        for features in study.runs_folder.glob("*/features")
        for sheet in naming_sheets(features)
        for item, slide in sheet.slide_of.items()
        if slide in slides
    }


def _unclaimed(study: Study, ids: Ids) -> tuple[str, ...]:
    stored = {
        path.stem
        for whole in (study.all_tiles, study.all_embeddings)
        for folder in whole.glob("*/")
        for path in stored_paths(folder)
    }
    return tuple(sorted(stored - ids.slides - ids.other_slides))


def _anything(study: Study, patient: str, ids: Ids, held: Held) -> bool:
    """Return whether anything names one patient, among those that are looked for."""
    if ids.patients == {patient} and not ids.slides:
        found = held
    else:
        alone = Ids(patients=frozenset({patient}), slides=frozenset())
        found = find_held(study, alone, slide_folders=_folders_of(study))
    return any((found.files, found.runs, found.bundles, found.copies, found.listed))


def _keep_ratings(folder: Path, ids: Ids, failed: Failed) -> set[Path]:
    """Take the patient out of what raters wrote in a run, and return the files that stay."""
    kept: set[Path] = set()
    for sheet in naming_sheets(folder / "features"):
        for path in sheet.rated_files():
            attempt(sheet.folder, failed, partial(state_codebook, sheet))
            attempt(path, failed, partial(_remove_ratings, path, ids))
            kept |= {path, sheet.folder / KEY, sheet.folder / ABOUT}
    return kept


def _remove_ratings(path: Path, ids: Ids) -> None:
    remove_rows(path, ITEM, ids.items | ids.slides, is_own=True)
    key = path.with_name(KEY)
    if key.exists():
        remove_rows(key, "slide_id", ids.slides, is_own=True)


def _remove_study_rows(path: Path, ids: Ids) -> None:
    """Remove the rows of patients and of slides; a link stays one."""
    columns = read_table(path, needs=("patient_id",)).columns
    for column, values in (("patient_id", ids.patients), ("slide_id", ids.slides)):
        if column in columns and values:
            if path.suffix == ".csv":
                remove_rows(path.resolve(), column, values)
            else:
                remove_workbook_rows(path.resolve(), column, values)


def _remove_derived_rows(path: Path, ids: Ids) -> None:
    columns = read_table(path, needs=("slide_id",)).columns
    for column, values in (("slide_id", ids.slides), ("patient_id", ids.patients)):
        if column in columns:
            remove_rows(path, column, values, is_own=True)


def remove_rows(path: Path, column: str, values: Collection[str], *, is_own: bool = False) -> None:
    """Remove the rows of a CSV that have one of the values; separator, encoding and all other cells
    stay as they are.

    Args:
        is_own: the table is one of ours, in which ids that a spreadsheet would run are disarmed.
    """
    table = read_table(path, needs=(column,))
    mark, encoding = table.understood.split(", ")
    separator, codec = SEPARATORS[mark], CODECS[encoding]
    raw = path.read_bytes().decode("utf-8-sig" if codec == "utf-8" else codec)
    rows = list(csv.reader(io.StringIO(raw, newline=""), delimiter=separator))
    first = table.header_line - 1
    place, unwanted = [plain_cell(cell) for cell in rows[first]].index(column), set(values)

    def goes(cells: list[str]) -> bool:
        cell = plain_cell(cells[place]) if len(cells) > place else ""
        return cell in unwanted or (is_own and as_it_was(cell) in unwanted)

    kept = [cells for n, cells in enumerate(rows) if n <= first or not goes(cells)]
    if len(kept) == len(rows):
        return
    text = io.StringIO(newline="")
    csv.writer(
        text, delimiter=separator, lineterminator="\r\n" if "\r\n" in raw else "\n"
    ).writerows(kept)
    has_mark = path.read_bytes().startswith(codecs.BOM_UTF8)  # a spreadsheet program looks for it
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.getvalue().encode("utf-8-sig" if has_mark else codec))
