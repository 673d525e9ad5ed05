"""Tables of hospitals become one row per patient, or every refused row is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from pathoml.config import Study, load_study
from pathoml.errors import CohortError, PathomlError
from pathoml.study.cohort import cohort_without_outcomes, read_cohort, treated

STUDY = """endpoint: {name: PFS, time_zero: first ablation, time: pfs_months, event: pfs_event}
cohort: {covariates: [age, sex]}
"""
SLIDES = (
    "slide_id,patient_id,path,specimen\nA1,A,a1.svs,primary\nA2,A,a2.svs,metastasis\nB1,B,b1.svs,\n"
)
PATIENTS = "patient_id,centre,pfs_months,pfs_event,age,sex\nA,north,12.5,1,61,f\nB,south,3,0,55,m\n"


def study(
    folder: Path,
    *,
    slides: str = SLIDES,
    patients: str = PATIENTS,
    yaml: str = STUDY,
    encoding: str = "utf-8",
) -> Study:
    (folder / "study.yaml").write_text(yaml)
    (folder / "slides.csv").write_text(slides, encoding=encoding)
    (folder / "patients.csv").write_text(patients, encoding=encoding)
    return load_study(folder)


def test_a_patient_with_two_slides_is_one_patient(tmp_path: Path) -> None:
    cohort = read_cohort(study(tmp_path))
    assert [(p.patient_id, p.slide_ids) for p in cohort.patients] == [
        ("A", ("A1", "A2")),
        ("B", ("B1",)),
    ]


def test_the_order_of_the_rows_decides_nothing(tmp_path: Path) -> None:
    tables = {"slides": SLIDES, "patients": PATIENTS}
    for name, table in tables.items():
        head, *rows = table.splitlines()
        tables[name] = "\n".join([head, *reversed(rows)]) + "\n"
    before = read_cohort(study(tmp_path))
    after = read_cohort(study(tmp_path, **tables))
    assert after == before
    assert list(after.rows) == list(before.rows) == ["A", "B"]
    assert cohort_without_outcomes(study(tmp_path, **tables)).patient_ids == ["A", "B"]


def test_semicolons_decimal_commas_and_umlauts_are_read(tmp_path: Path) -> None:
    patients = (
        "patient_id;centre;pfs_months;pfs_event;age;sex\n"
        "A;Köln;12,5;ja;61;w\n"
        "B;Köln;3;nein;55,5;m\n"
    )
    cohort = read_cohort(
        study(tmp_path, patients=patients, encoding="latin-1", slides=SLIDES.replace(",", ";"))
    )
    assert [(p.centre, p.time_months, p.event, p.covariates["age"]) for p in cohort.patients] == [
        ("Köln", 12.5, 1, 61.0),
        ("Köln", 3.0, 0, 55.5),
    ]


@pytest.mark.parametrize(
    "cells",
    [
        ["1", "0", ""],
        ["1.0", "0,0", None],
        [1.0, 0.0, None],
        ["Ja", "nein", ""],
        ["YES", "0", ""],
        ["true", "False", ""],
    ],
)
def test_a_treatment_is_read_in_numbers_and_in_words(cells: list[object]) -> None:
    assert str(treated(cells, "lat").tolist()) == "[1.0, 0.0, nan]"


def test_a_treatment_in_other_words_is_refused_with_the_levels_that_were_found() -> None:
    with pytest.raises(
        CohortError, match=r"'lat' of the patients holds '2', 'RFA', 'TACE'; it must be 0 or 1"
    ):
        treated(["TACE", "RFA", "RFA", "2", "yes", ""], "lat")


def test_what_the_study_calls_missing_is_missing_of_a_slide_too(tmp_path: Path) -> None:
    slides = (
        "slide_id,patient_id,path,specimen,mpp,organ,sampled_on\nA1,A,not done,not done,Not"
        " done,not done,not done\n"
    )
    (slide,) = read_cohort(
        study(
            tmp_path,
            slides=slides,
            yaml=STUDY.replace("{covariates", "{missing: [not done], covariates"),
        )
    ).slides
    assert (slide.path, slide.specimen, slide.mpp, set(slide.extras.values())) == (
        None,
        "other",
        None,
        {""},
    )


def test_days_become_months(tmp_path: Path) -> None:
    cohort = read_cohort(
        study(tmp_path, yaml=STUDY.replace("event: pfs_event", "event: pfs_event, unit: days"))
    )
    assert cohort.patients[0].time_months == pytest.approx(12.5 * 12 / 365.25)


def test_a_patient_without_follow_up_is_left_out_with_the_reason(tmp_path: Path) -> None:
    cohort = read_cohort(study(tmp_path, patients=PATIENTS.replace("3,0,55", ",0,55")))
    assert cohort.excluded == (("B", "no follow-up"),)


def test_a_patient_without_a_slide_is_left_out_or_refused_as_configured(tmp_path: Path) -> None:
    slides = "slide_id,patient_id,path\nA1,A,a1.svs\n"
    assert read_cohort(study(tmp_path, slides=slides)).excluded == (("B", "no slide"),)
    strict = STUDY.replace("{covariates", "{without_slides: refuse, covariates")
    with pytest.raises(CohortError, match="Patient B has no slide"):
        read_cohort(study(tmp_path, slides=slides, yaml=strict))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"patients": PATIENTS + "A,north,2,0,50,f\n"},
            "patients.csv has 2 rows for patient_id 'A'",
        ),
        (
            {"slides": SLIDES + "C1,C,c.svs,primary\n"},
            "Slide 'C1' belongs to patient 'C', who has no row in patients.csv",
        ),
        ({"slides": SLIDES + "A1,A,c.svs,primary\n"}, "slides.csv has 2 rows for slide_id 'A1'"),
        (
            {"patients": PATIENTS.replace("12.5", "-2.0")},
            "patient A: pfs_months = -2 months; it must be over 0, counted from first ablation",
        ),
        (
            {"patients": PATIENTS.replace("12.5,1", "12.5,7")},
            "patient A: pfs_event = '7'; it must be 0 censored",
        ),
        (
            {"patients": PATIENTS.replace("12.5", "soon")},
            "pfs_months = 'soon' is not a number of months",
        ),
        (
            {"patients": PATIENTS.replace("pfs_event", "event")},
            "no column 'pfs_event'.*Did you mean 'event'",
        ),
        ({"slides": SLIDES.replace("A1,A", "../A1,A")}, "a slide_id needs letters"),
        (
            {"slides": SLIDES.replace("metastasis", "liver")},
            "specimen 'liver' is not one of primary, metastasis, other",
        ),
    ],
)
def test_a_wrong_row_is_named_with_its_value_and_what_to_do(
    tmp_path: Path, change: dict[str, str], sentence: str
) -> None:
    with pytest.raises(PathomlError, match=sentence):
        read_cohort(study(tmp_path, **change))


def test_every_refused_row_is_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(CohortError) as error:
        read_cohort(study(tmp_path, patients=PATIENTS.replace("12.5", "-1").replace("3,0", "0,0")))
    assert "patient A" in str(error.value)
    assert "patient B" in str(error.value)
