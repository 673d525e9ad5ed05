"""The multivariable table is the two Cox models of the added value, coefficient by coefficient."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from support.r_oracle import r_data, run_r
from support.score_study import write_score_study

from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.multivariable import multivariable_section

QUICK = {"permutations": 0, "bootstraps": 0}


def study_of(folder, change=lambda _k, row: row, **sections):
    study = write_score_study(folder, n=150, significance=QUICK, **sections)
    path = folder / "patients.csv"
    with path.open(encoding="utf-8") as file:
        rows = [change(k, row) for k, row in enumerate(csv.DictReader(file))]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return read_evidence(study)


@pytest.mark.ci
def test_hazard_ratios_with_and_without_the_score_are_those_of_coxph(tmp_path):
    cohort = {"covariates": ["n_lesions", "systemic"], "treatment": None}
    evidence = study_of(tmp_path, lambda k, row: row | {"systemic": str(k % 2)}, cohort=cohort)
    section = multivariable_section(evidence)
    lesions = np.array(evidence.clinical["n_lesions"], dtype=float)
    found = run_r(
        r_data(
            {
                "time": evidence.cohort.time_months,
                "event": evidence.cohort.event.astype(float),
                "lesions": (lesions - lesions.mean()) / lesions.std(),
                "systemic": np.array(evidence.clinical["systemic"], dtype=float),
                "score": evidence.score,
            }
        )
        + """
        a <- coxph(Surv(time, event) ~ lesions + systemic, ties = "efron")
        b <- coxph(Surv(time, event) ~ lesions + systemic + score, ties = "efron")
        show("a", c(exp(coef(a)), exp(confint(a)))); show("b", exp(coef(b)))
        """
    )
    rows = section["rows"]
    without = [row["without_score"] for row in rows]
    assert [r["estimate"] for r in without] == pytest.approx(found["a"][:2], rel=1e-6)
    assert [r["low"] for r in without] == pytest.approx(found["a"][2:4], rel=1e-6)
    with_score = [row["with_score"]["estimate"] for row in rows]
    assert [*with_score, section["score"]["estimate"]] == pytest.approx(found["b"], rel=1e-6)
    assert (rows[1]["level"], section["references"]["systemic"]) == ("1", "0")


def test_only_the_error_of_the_score_is_widened(tmp_path):
    evidence = study_of(tmp_path)
    section = multivariable_section(evidence)
    locked = multivariable_section(replace(evidence, score_type="locked"))

    def width(content):
        return np.log(content["high"]) - np.log(content["low"])

    assert width(section["score"]) == pytest.approx(2**0.5 * width(locked["score"]))
    for one, other in zip(section["rows"], locked["rows"]):
        assert width(one["with_score"]) == pytest.approx(width(other["with_score"]))
    assert section["score"]["wald_p"] is None  # several centres
    assert 0 < locked["score"]["wald_p"] < 1


def test_a_level_without_an_event_says_so_in_its_row_and_costs_no_other(tmp_path):
    def rare(k, row):
        return row | ({"subtype": "rare", "pfs_event": "0"} if k < 3 else {})

    section = multivariable_section(study_of(tmp_path, rare))
    [row] = [row for row in section["rows"] if row["level"] == "rare"]
    assert row["with_score"]["note"] == "not estimable: no event among its 3 patients"
    assert (row["n"], row["events"]) == (3, 0)
    others = [row for row in section["rows"] if row["level"] != "rare"]
    assert all(row["with_score"]["estimate"] for row in others)
