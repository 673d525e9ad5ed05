"""Every column that is used is shown as it was understood."""

from __future__ import annotations

import json
from pathlib import Path

from support.hospital_tables import csv_text, twelve, write_hospital_study

from pathoml.study.cohort import read_tables
from pathoml.study.column_summaries import ColumnSummary, summarise_columns


def summaries(folder: Path) -> dict[str, ColumnSummary]:
    columns = twelve(
        pfs=[str(months).replace(".", ",") for months in twelve()["pfs"]],
        age=[61, "", "NA", 70, 66, 59, 73, 52, 64, 58, 47, 69],
        event=["dead" if code else "alive" for code in twelve()["event"]],
        lat=["ja", "nein", ""] * 4,
        zero=["25/03/2020", *["01/02/2020"] * 11],
    )
    study = write_hospital_study(
        folder,
        csv_text(columns, ";"),
        slides='slide_id,patient_id,path,mpp,specimen\nA,P00,,"0,25",primary\n'.replace(
            ",", ";", 4
        ).replace(';"0,25"', ";0,25"),
        cohort={"treatment": "lat"},
        dates={"time_zero": "zero"},
        evaluate={"subgroups": ["age <= 60"]},
    )
    return {
        f"{c.table} {c.column} {c.used_as}": c
        for c in summarise_columns(study, *read_tables(study))
    }


def test_type_range_levels_and_missing_of_every_column(tmp_path: Path) -> None:
    found = summaries(tmp_path)
    held = {
        name.removeprefix("patients.csv "): (c.read_as, c.holds, c.missing)
        for name, c in found.items()
        if name.startswith("patients")
    }
    assert held == {
        "patient_id id": ("id", "P00 to P11", 0),
        "pfs time": ("number", "3.5 to 41 months, median 16", 0),
        "event event": (
            "category",
            "event (dead) 7, censored (alive) 5; median months 30.5 censored, 9.5 event",
            0,
        ),
        "centre centre": ("category", "east 4, north 4, south 4", 0),
        "age covariate": ("number", "47 to 73, median 62.5", 2),
        "sex covariate": ("category", "f 6, m 6", 0),
        "lat treatment": ("category", "not treated (nein) 4, treated (ja) 4", 4),
        "zero date": ("date", "2020-02-01 to 2020-03-25", 0),
        "age subgroup": ("number", "47 to 73, median 62.5", 2),
    }


def test_a_summary_is_json(tmp_path: Path) -> None:
    summary = summaries(tmp_path)["patients.csv sex covariate"]
    assert json.loads(json.dumps(summary.to_json()))["levels"] == {"f": 6, "m": 6}
