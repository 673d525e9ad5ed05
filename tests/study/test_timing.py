"""Dates that contradict each other are refused row by row, and start-stop rows are what R's coxph
takes.
"""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pathoml.config import Study, load_study
from pathoml.errors import CohortError
from pathoml.evaluation.start_stop import start_stop_rows, timing_section, write_start_stop
from pathoml.study.cohort import read_cohort

STUDY = """endpoint:
  {name: PFS, time_zero: first ablation, time: pfs_months, event: pfs_event, data_cut: 2024-12-31}
dates: {time_zero: ablation, entry: referral, exit: last_seen, treatment: lat, metastasis: spread%s}
"""
HEADER = "patient_id,centre,pfs_months,pfs_event,ablation,referral,last_seen,lat,spread\n"
ROWS = [
    "A,north,12,1,2020-01-01,,2021-01-01,,2019-06-01",
    "B,south,24,0,01.01.2020,2020-07-01,01.01.2022,2021-01-01,2019-01-01",
    "C,south,3,1,2020-01-01,,2020-04-01,,",
]
SLIDES = (
    "slide_id,patient_id,path,sampled_on\n"
    "A1,A,a.svs,2019-12-01\n"
    "B1,B,b.svs,\n"
    "C1,C,c.svs,2020-01-01\n"
)


def study(folder: Path, rows: list[str] = ROWS, slides: str = SLIDES, landmark: str = "") -> Study:
    (folder / "study.yaml").write_text(STUDY % landmark)
    (folder / "slides.csv").write_text(slides)
    (folder / "patients.csv").write_text(HEADER + "\n".join(rows) + "\n")
    return load_study(folder)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (
            "2021-01-01,,2019-06-01",
            "2019-12-31,,2019-06-01",
            "patient A: exit 2019-12-31 is not after time zero .2020-01-01",
        ),
        (
            "A,north,12",
            "A,north,5",
            "pfs_months says 5.0 months, the dates 2020-01-01 to 2021-01-01 say 12.0",
        ),
        (
            "A,north,12,1,2020-01-01,,2021-01-01",
            "A,north,62,1,2020-01-01,,2025-03-01",
            "exit 2025-03-01 is after the data cut .2024-12-31",
        ),
        ("2020-07-01", "2022-03-01", "patient B: entry 2022-03-01 is not before exit .2022-01-01"),
        (
            "2021-01-01,2019-01-01",
            "2018-01-01,2019-01-01",
            "patient B: treatment 2018-01-01 is before metastasis .2019-01-01",
        ),
        ("2019-06-01", "June 2019", "patient A: spread = 'June 2019' is not a date"),
    ],
)
def test_a_row_whose_dates_contradict_each_other_is_refused_with_both(
    tmp_path: Path, before: str, after: str, sentence: str
) -> None:
    rows = "\n".join(ROWS).replace(before, after, 1).split("\n")
    assert rows != ROWS
    with pytest.raises(CohortError, match=sentence):
        read_cohort(study(tmp_path, rows))


def test_all_contradictions_are_listed_at_once(tmp_path: Path) -> None:
    rows = [
        ROWS[0].replace("A,north,12", "A,north,5"),
        ROWS[1].replace("2020-07-01", "2022-03-01"),
        ROWS[2],
    ]
    with pytest.raises(CohortError, match=r"(?s)2 rows are refused.*patient A.*patient B"):
        read_cohort(study(tmp_path, rows))


def test_a_slide_from_after_time_zero_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(
        CohortError, match=r"patient A: slide A1 2020-02-01 was taken after time zero .2020-01-01"
    ):
        read_cohort(study(tmp_path, slides=SLIDES.replace("2019-12-01", "2020-02-01")))


def test_a_landmark_leaves_out_who_does_not_reach_it_and_counts_time_from_there(
    tmp_path: Path,
) -> None:
    cohort = read_cohort(study(tmp_path, landmark=", landmark_months: 6"))
    assert cohort.excluded == (("C", "event or last visit before the landmark of 6 months"),)
    assert [p.time_months for p in cohort.patients] == [6.0, 18.0]
    assert "6 months (landmark)" in cohort.time_zero


def test_a_slide_from_before_the_landmark_may_be_younger_than_time_zero(tmp_path: Path) -> None:
    slides = SLIDES.replace("2019-12-01", "2020-02-01")
    assert (
        len(read_cohort(study(tmp_path, slides=slides, landmark=", landmark_months: 6")).patients)
        == 2
    )


def test_who_is_treated_on_the_way_is_untreated_until_then(tmp_path: Path) -> None:
    rows = start_stop_rows(read_cohort(study(tmp_path)))
    treated = [
        (round(r.start_months, 1), round(r.stop_months, 1), r.event, r.treated)
        for r in rows
        if r.patient == 1
    ]
    assert treated == [
        (6.0, 12.0, 0, 0),
        (12.0, 24.0, 0, 1),
    ]  # 182 days and 366 days after the ablation


def drawn_study(folder: Path, n: int = 200) -> Study:
    """Return a study with late entries, treatments on the way and whole-month times, which tie."""
    rng = np.random.default_rng(4)
    zero = np.datetime64("2010-01-01")
    rows, slides = [], []
    for k in range(n):
        months = int(rng.integers(4, 60))
        entry = int(rng.integers(1, months * 25)) if k % 3 == 0 else 0
        treated = int(rng.integers(1, months * 28)) if k % 2 else 0
        last, late, begun = (zero + d for d in (round(months * 365.25 / 12), entry, treated))
        event = int(rng.uniform() < 0.6)
        rows.append(
            f"P{k},north,{months},{event},{zero},{late if entry else ''},{last},"
            f"{begun if treated else ''},"
        )
        slides.append(f"S{k},P{k},x.svs,")
    return study(folder, rows, "slide_id,patient_id,path,sampled_on\n" + "\n".join(slides) + "\n")


@pytest.mark.ci
def test_start_stop_rows_give_the_coefficients_of_coxph_in_r(tmp_path: Path) -> None:
    cohort = read_cohort(drawn_study(tmp_path))
    score = np.random.default_rng(5).normal(size=len(cohort.patients))
    write_start_stop(tmp_path / "start_stop.csv", cohort, score)
    script = (
        "library(survival); d <- read.csv('start_stop.csv');"
        "f <- coxph(Surv(start_months, stop_months, event == 1) ~ score_sd + treated, data = d, "
        "ties = 'efron');write.csv(exp(cbind(coef(f), confint(f))), 'r.csv')"
    )
    subprocess.run(["Rscript", "-e", script], cwd=tmp_path, check=True, capture_output=True)
    with (tmp_path / "r.csv").open() as file:
        r = [[float(v) for v in row[1:]] for row in list(csv.reader(file))[1:]]
    ours = timing_section(cohort, score)
    found = [
        [ours[name][key] for key in ("estimate", "low", "high")]
        for name in ("hazard_ratio_per_sd", "treatment_hazard_ratio")
    ]
    np.testing.assert_allclose(found, r, rtol=1e-6)


def test_patients_are_counted_not_their_rows(tmp_path: Path) -> None:
    cohort = read_cohort(drawn_study(tmp_path))
    timing = timing_section(cohort, np.random.default_rng(5).normal(size=len(cohort.patients)))
    assert timing["rows"] > len(cohort.patients)
    assert timing["hazard_ratio_per_sd"]["n"] == len(cohort.patients)
    assert timing["treatment_hazard_ratio"]["n"] == len(cohort.patients)
