"""Table 1: medians, counts, who lacks what, and differences that do not grow with the cohort."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.score_study import write_score_study

from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.table_one import largest_difference, table_one_section


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    study = write_score_study(
        tmp_path_factory.mktemp("study"), n=120, significance={"permutations": 0, "bootstraps": 0}
    )
    return read_evidence(study)


@pytest.fixture(scope="module")
def table(evidence):
    return table_one_section(evidence)


def rows_of(table, variable):
    return [row for row in table["rows"] if row["variable"] == variable]


def test_every_patient_is_in_one_centre_and_one_group(table):
    patients = table["patients"]
    assert sum(patients["centres"].values()) == patients["all"]["all"] == 120
    assert sum(patients["groups"].values()) == 120


def test_counts_of_levels_and_of_those_who_lack_it_add_up_in_every_column(table):
    rows = rows_of(table, "subtype")
    for part, of in table["patients"].items():
        for name, n in of.items():
            counts = [row[part][name]["count"] for row in rows]
            assert sum(counts) + rows[0]["missing"][part][name] == n
            assert sum(row[part][name]["share"] for row in rows) == pytest.approx(1)


def test_a_number_has_the_quartiles_of_those_who_are_known(table, evidence):
    [row] = rows_of(table, "age")
    ages = sorted(a for a in evidence.clinical["age"] if a is not None)
    assert row["missing"]["all"]["all"] == 120 - len(ages)
    position = 0.25 * (len(ages) - 1)  # R type 7
    low = ages[int(position)]
    assert row["all"]["all"]["q1"] == pytest.approx(
        low + (position % 1) * (ages[int(position) + 1] - low)
    )


def test_the_outcome_stands_first(table, evidence):
    yes = next(row for row in rows_of(table, "event seen") if row["level"] == "yes")
    assert yes["all"]["all"]["count"] == int(evidence.cohort.event.sum())


def test_the_difference_of_two_shares_is_in_their_pooled_sd():
    # 0.5 against 0.25: 0.25 / sqrt((0.25 + 0.1875) / 2) = 0.5345
    groups = [np.array([True, False]), np.array([True, False, False, False])]
    assert largest_difference(groups) == pytest.approx(0.534522, abs=1e-6)


def test_the_largest_difference_of_three_groups_is_that_of_the_two_furthest_apart():
    groups = [np.array([0.0, 2.0]), np.array([1.0, 3.0]), np.array([5.0, 7.0])]
    assert largest_difference(groups) == pytest.approx(5 / 2**0.5)  # SD sqrt(2) each


def test_rare_levels_beyond_twelve_are_one_row(evidence):

    rows = {
        p: row | {"subtype": f"S{k % 20}"}
        for k, (p, row) in enumerate(evidence.cohort.rows.items())
    }
    patients = tuple(
        replace(p, covariates={**p.covariates, "subtype": rows[p.patient_id]["subtype"]})
        for p in evidence.cohort.patients
    )
    many = replace(evidence, cohort=replace(evidence.cohort, patients=patients, rows=rows))
    levels = [row["level"] for row in rows_of(table_one_section(many), "subtype")]
    assert len(levels) == 12
    assert levels[-1] == "other (9 levels)"
