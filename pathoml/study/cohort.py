"""Read slides.csv and patients.csv into a cohort: one row per patient, refused row by row."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pathoml.config import EndpointConfig, Study, opened, shown
from pathoml.errors import CohortError
from pathoml.store.tables import Table, parse_number, read_study_table, table_names
from pathoml.study.columns import as_understood, kind_of, level, slides_as_understood
from pathoml.study.event_codes import event_code, refuse_no_censored, yes_or_no
from pathoml.study.file_names import (
    look_alike,
    same_file_elsewhere,
    tells_letters_apart,
    why_no_patient_id,
    why_no_slide_id,
)
from pathoml.study.patient_ids import near_ids
from pathoml.study.slide_paths import slide_path
from pathoml.study.timing import (
    UNITS_A_MONTH,
    check_timing,
    date_columns,
    refuse_dates_without_time_zero,
)
from pathoml.study.treatment_start import treatment_starts
from pathoml.types import UNKNOWN_CENTRE, Cohort, Patient, Slide

SPECIMENS = {
    "primary": "primary",
    "primaertumor": "primary",
    "primärtumor": "primary",
    "primary tumour": "primary",
    "primary tumor": "primary",
    "metastasis": "metastasis",
    "metastase": "metastasis",
    "other": "other",
    "": "other",
}
MOST_LISTED = 20
MOST_LEVELS = 5  # of a column that a sentence names
NEVER_SEEN = float("nan")  # the outcome of a patient who is scored by a locked model


def read_cohort(study: Study | Path | str) -> Cohort:
    """Return the patients with their slides, both sorted by id, so that the order of the tables'
    rows decides nothing: no fold, and no last bit of a sum.

    Args:
        study: a study or its folder.

    Raises:
        CohortError: duplicates, slides without a patient, impossible rows, missing columns; every
            row is listed.
    """
    study = opened(study)
    return cohort_of(study, *read_tables(study))


def read_tables(study: Study) -> tuple[Table, Table | None]:
    """Return patients.csv and slides.csv as they stand; None for slides.csv where a study that
    keeps patients without slides has none.
    """
    needed = study.config.cohort.without_slides != "keep"
    there = any((study.folder / name).exists() for name in table_names("slides"))
    slides = read_study_table(study, "slides") if needed or there else None
    return read_study_table(study, "patients"), slides


def cohort_of(study: Study, patients_table: Table, slides_table: Table | None) -> Cohort:
    """Return the cohort of two tables that were read; see `read_cohort`. Its rows hold the cells as
    they are understood: numbers with a decimal point, dates as yyyy-mm-dd.
    """
    slides = slides_of(study, slides_table) if slides_table else []
    _require_columns(study, patients_table)
    patients_table = as_understood(study, patients_table)
    patients, excluded = _read_patients(study, patients_table, slides)
    if not patients:
        raise CohortError(
            "No patient has both a slide and follow-up. Compare patient_id in slides.csv and"
            " patients.csv."
        )
    with_arms, starts = treatment_starts(patients, study.config, treated)
    chosen = {p.patient_id for p in patients}
    landmark = study.config.dates.landmark_months
    return Cohort(
        patients=with_arms,
        treatment_starts=starts,
        slides=tuple(s for s in slides if s.patient_id in chosen),
        endpoint=study.config.endpoint.name,
        time_zero=study.config.endpoint.time_zero
        + (f" + {landmark:g} months (landmark)" if landmark else ""),
        excluded=tuple(sorted(excluded)),
        rows={row["patient_id"]: row for row in sorted(patients_table.rows, key=_by_patient)},
    )


def cohort_without_outcomes(study: Study) -> Cohort:
    """Return a cohort from slides.csv alone, without times or events."""
    slides = read_slides(study)
    if not slides:
        raise CohortError("slides.csv has no rows: there is nobody to score.")
    of_patient: dict[str, list[str]] = defaultdict(list)
    centre = {}
    for slide in slides:
        of_patient[slide.patient_id].append(slide.slide_id)
        centre[slide.patient_id] = slide.extras.get("centre", "")
    patients = tuple(
        Patient(
            patient_id=p,
            centre=centre[p],
            time_months=NEVER_SEEN,
            event=0,
            slide_ids=tuple(ids),
            covariates={},
        )
        for p, ids in sorted(of_patient.items())
    )
    return Cohort(patients=patients, slides=tuple(slides), endpoint="", time_zero="", excluded=())


def treated(cells: Iterable[object], column: str) -> npt.NDArray[np.float64]:
    """Return (B,) 1 treated, 0 not, NaN where the cell is empty.

    Raises:
        CohortError: a cell is neither a 0 or 1 nor a word such as yes or no; the sentence names
            what was found.

    >>> treated(["yes", "no", "", 1.0, None], "lat").tolist()
    [1.0, 0.0, nan, 1.0, nan]
    """
    given = ["" if cell is None else str(cell) for cell in cells]
    codes = [yes_or_no(cell) for cell in given]
    wrong = sorted({cell for cell, code in zip(given, codes) if cell and code is None})
    if wrong:
        levels = ", ".join(repr(level) for level in wrong[:MOST_LEVELS]) + (
            ", ..." if len(wrong) > MOST_LEVELS else ""
        )
        raise CohortError(
            f"The treatment column {column!r} of the patients holds {levels}; it must be 0 or 1, a "
            "word such as yes or no, or empty. Correct the cells, or name another column in "
            "cohort.treatment."
        )
    return np.array([np.nan if code is None else code for code in codes], dtype=np.float64)


def share_treated(arms: npt.NDArray[np.float64]) -> float | None:
    """Return the share of the treated among those whose treatment is known; None if it is of
    nobody.

    >>> share_treated(np.array([1.0, 0.0, np.nan])), share_treated(np.array([np.nan]))
    (0.5, None)
    """
    known = arms[~np.isnan(arms)]
    return float(known.mean()) if len(known) else None


def read_slides(study: Study) -> list[Slide]:
    """Return the rows of slides.csv, sorted by slide_id; relative paths are relative to the study
    folder.

    Raises:
        CohortError: a column is missing, or rows are refused.
    """
    return slides_of(study, read_study_table(study, "slides"))


def slides_of(study: Study, table: Table) -> list[Slide]:
    """Return the slides of a table that was read; see `read_slides`."""
    table.require(("slide_id", "patient_id", "path"))
    table = slides_as_understood(table, study.config.dates.format)
    slides, refused = [], _duplicates(table, "slide_id")
    twins = same_file_elsewhere(dict.fromkeys(row["slide_id"] for row in table.rows))
    if twins and tells_letters_apart(study.folder):
        twins = {}
    for number, row in table.numbered():
        where = f"{table.path.name} line {number}, slide {row['slide_id']!r}"
        mpp = parse_number(row["mpp"]) if row.get("mpp") else None
        specimen = SPECIMENS.get(row.get("specimen", "").lower())
        if why := why_no_slide_id(row["slide_id"]):
            said = _word_for_missing(table, number, "slide_id")
            refused.append(f"{where}: {why}.{said}")
        elif row["slide_id"] in twins:
            refused.append(
                f"{where}: on the disk of this study it is one file with slide"
                f" {twins[row['slide_id']]!r}, for small and large letters are alike there. Call"
                " one of them otherwise."
            )
        elif not row["patient_id"]:
            said = _word_for_missing(table, number, "patient_id")
            refused.append(f"{where} has no patient_id.{said}")
        elif why := why_no_patient_id(row["patient_id"]):
            refused.append(f"{where}: patient {shown(row['patient_id'])} {why}.")
        elif row.get("mpp") and mpp is None:
            refused.append(f"{where}: mpp {row['mpp']!r} is not a number.")
        elif specimen is None:
            refused.append(
                f"{where}: specimen {row['specimen']!r} is not one of primary, metastasis, other."
            )
        else:
            extras = {
                k: v
                for k, v in row.items()
                if k not in ("slide_id", "patient_id", "path", "specimen", "mpp")
            }
            location = slide_path(study.folder, row["path"]) if row["path"] else None
            slides.append(
                Slide(
                    slide_id=row["slide_id"],
                    patient_id=row["patient_id"],
                    path=location,
                    specimen=specimen,
                    mpp=mpp,
                    extras=extras,
                )
            )
    _refuse(table.path.name, refused)
    return sorted(slides, key=lambda slide: slide.slide_id)


def _require_columns(study: Study, table: Table) -> None:
    config, endpoint = study.config.cohort, study.config.endpoint
    refuse_dates_without_time_zero(study.config.dates)
    table.require(
        (
            "patient_id",
            config.centre,
            endpoint.time,
            endpoint.event,
            *config.covariates,
            *((config.treatment,) if config.treatment else ()),
            *date_columns(study.config.dates),
        )
    )
    table.require(config.categorical)


def _read_patients(
    study: Study, table: Table, slides: Iterable[Slide]
) -> tuple[list[Patient], list[tuple[str, str]]]:
    config, endpoint = study.config.cohort, study.config.endpoint
    dates = study.config.dates
    treatment = (config.treatment,) if config.treatment else ()
    slide_ids: dict[str, list[str]] = defaultdict(list)
    sampled: dict[str, dict[str, str]] = defaultdict(dict)
    for slide in slides:
        slide_ids[slide.patient_id].append(slide.slide_id)
        sampled[slide.patient_id][slide.slide_id] = slide.extras.get("sampled_on", "")
    known = {row["patient_id"] for row in table.rows}
    refused = _duplicates(table, "patient_id")
    refused += [
        f"{table.path.name}: patients {other!a} and {one!a} look alike, for a letter with an accent"
        " is written as one character or as two. Enter the id again by hand wherever it stands."
        for one, other in look_alike(row["patient_id"] for row in table.rows).items()
    ]
    near = near_ids((p for p in slide_ids if p not in known), known - slide_ids.keys())
    refused += [
        f"Slide {s!r} belongs to patient {p!r}, who has no row in {table.path.name}."
        + near.get(p, "")
        for p in slide_ids
        if p not in known
        for s in slide_ids[p]
    ]
    covariates = [*config.covariates, *(t for t in treatment if t not in config.covariates)]
    read_covariate = {
        name: _covariate_reader(kind_of(table, name, config.categorical)) for name in covariates
    }
    refuse_no_censored(table, endpoint)
    _refuse_centre_of_few(table, config.centre)
    patients, excluded = [], []
    for number, row in table.numbered():
        who = row["patient_id"]
        if not who:
            said = _word_for_missing(table, number, "patient_id")
            refused.append(f"{table.path.name} line {number} has no patient_id.{said}")
        elif why := why_no_patient_id(who):
            refused.append(f"{table.path.name} line {number}, patient {shown(who)}: it {why}.")
        elif not row[endpoint.time] or not row[endpoint.event]:
            excluded.append((who, "no follow-up"))
        elif who not in slide_ids and config.without_slides == "refuse":
            refused.append(f"Patient {who} has no slide in slides.csv.")
        elif who not in slide_ids and config.without_slides == "exclude":
            excluded.append((who, "no slide"))
        else:
            where = f"{table.path.name} line {number}, patient {who}"
            try:
                time_months, event = _outcome(row, endpoint, where)
                timing = check_timing(
                    row,
                    sampled.get(who, {}),
                    dates,
                    endpoint=endpoint,
                    time_months=time_months,
                    where=where,
                )
            except CohortError as error:
                refused.append(str(error))
                continue
            if time_months <= dates.landmark_months:
                excluded.append(
                    (
                        who,
                        (
                            "event or last visit before the landmark of"
                            f" {dates.landmark_months:g} months"
                        ),
                    )
                )
                continue
            patients.append(
                Patient(
                    patient_id=who,
                    centre=row[config.centre] or UNKNOWN_CENTRE,
                    time_months=time_months - dates.landmark_months,
                    event=event,
                    slide_ids=tuple(slide_ids[who]),
                    covariates={name: read_covariate[name](row[name]) for name in covariates},
                    entry_months=timing.entry_months,
                    treatment_months=timing.treatment_months,
                )
            )
    _refuse(table.path.name, refused)
    return sorted(patients, key=lambda patient: patient.patient_id), excluded


def _by_patient(row: Mapping[str, str]) -> str:
    return row["patient_id"]


def _outcome(row: Mapping[str, str], endpoint: EndpointConfig, where: str) -> tuple[float, int]:
    time = parse_number(row[endpoint.time])
    if time is None or not math.isfinite(time):
        raise CohortError(
            f"{where}: {endpoint.time} = {row[endpoint.time]!r} is not a number of {endpoint.unit}."
        )
    if time <= 0:
        raise CohortError(
            f"{where}: {endpoint.time} = {time:g} {endpoint.unit}; it must be over 0, counted from "
            f"{endpoint.time_zero}. Correct the dates or drop the row."
        )
    event = event_code(row[endpoint.event], endpoint)
    if event is None:
        raise CohortError(
            f"{where}: {endpoint.event} = {row[endpoint.event]!r}; it must be 0 censored, 1 event"
            " or 2 competing event, or state what the cells mean: endpoint.event_codes,"
            " endpoint.censored_codes and endpoint.competing_codes."
        )
    return time / UNITS_A_MONTH[endpoint.unit], event


def _covariate_reader(kind: str) -> Callable[[str], float | str | None]:
    if kind == "number":
        return lambda cell: parse_number(cell) if cell else None
    return lambda cell: level(cell) if cell else None


def _refuse_centre_of_few(table: Table, column: str) -> None:
    """Raise CohortError where a centre is known of the fewer patients: cells that were merged, or
    filled in once for many rows, look so.
    """
    empty = [number for number, row in table.numbered() if not row[column]]
    if len(table.rows) / 2 < len(empty) < len(table.rows):
        raise CohortError(
            f"{table.path.name}: {column} is empty in {len(empty)} of {len(table.rows)} rows (line "
            f"{empty[0]} is the first). Is it written once for several rows? Fill it in for each "
            "(in a spreadsheet: unmerge, and fill down); write 'unknown' where it is not known."
        )


def _word_for_missing(table: Table, line: int, column: str) -> str:
    word = table.words_for_missing.get((line, column))
    return f" {word!r} stands for a missing cell: use another id." if word else ""


def _duplicates(table: Table, column: str) -> list[str]:
    counts = Counter(row[column] for row in table.rows if row[column])
    return [
        f"{table.path.name} has {n} rows for {column} {value!r}; it needs exactly one."
        for value, n in counts.items()
        if n > 1
    ]


def _refuse(name: str, refused: list[str]) -> None:
    if refused:
        more = f"\n(+{len(refused) - MOST_LISTED} more)" if len(refused) > MOST_LISTED else ""
        noun = "row is" if len(refused) == 1 else "rows are"
        raise CohortError(
            f"{len(refused)} {noun} refused; correct {name}:\n"
            + "\n".join(refused[:MOST_LISTED])
            + more
        )
