"""Ids that are one patient to a reader are proposed to one another."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.hospital_tables import twelve, warnings_of, write_hospital_study

from pathoml.errors import CohortError
from pathoml.study.cohort import read_cohort
from pathoml.study.patient_ids import near_ids


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("007", "7", "lost the zeros"), ("P7", "P007", "lost the zeros"),
        ("7.0", "7", "Write both alike"), ("p12", "P12", "Small and large letters"),
        ("P 12", "P-12", "Write both alike"), ("'007", "007", "Write both alike"),
        ("1.23457E+11", "123456789012", "shortened"), ("1E5", "100000", "shortened"),
        ("Mu\u0308ller", "M\u00fcller", "Write both alike"),
    ],
)  # fmt: skip
def test_what_a_spreadsheet_or_a_hand_changed_is_found_both_ways(
    one: str, other: str, reason: str
) -> None:
    for wanted, known in ((one, other), (other, one)):
        (sentence,) = near_ids([wanted], [known, "Q99"]).values()
        assert repr(known) in sentence
        assert reason in sentence or "zeros" in sentence


@pytest.mark.parametrize(
    ("one", "known"), [("P1", ["P10"]), ("P1", ["P2"]), ("7", ["07", "007"]), ("100", ["1"])]
)
def test_what_is_another_patient_or_may_be_two_is_not_proposed(one: str, known: list[str]) -> None:
    assert near_ids([one], known) == {}


@pytest.mark.parametrize(("there", "here"), [("{:03d}", "{}"), ("{}", "{:03d}")])
def test_zeros_that_one_table_lost_are_said(tmp_path: Path, there: str, here: str) -> None:
    slides = "slide_id,patient_id,path\n" + "".join(
        f"S{k},{here.format(k)},\n" for k in range(1, 13)
    )
    columns = twelve(patient_id=[there.format(k) for k in range(1, 13)])
    with pytest.raises(CohortError, match=f"Is it '{there.format(7)}' there. One .* lost the zero"):
        read_cohort(write_hospital_study(tmp_path, columns, slides=slides))


def test_twins_of_one_table_are_said(tmp_path: Path) -> None:
    columns = twelve()
    columns["patient_id"][5] = "p0"
    assert "patient 'p0' has a near twin. Is it 'P00'?" in warnings_of(
        write_hospital_study(tmp_path, columns)
    )


def test_an_id_that_is_a_word_for_missing_is_named(tmp_path: Path) -> None:
    columns = twelve()
    columns["patient_id"][5] = "NA"
    with pytest.raises(
        CohortError, match=r"line 7 has no patient_id. 'NA' stands for a missing cell"
    ):
        read_cohort(write_hospital_study(tmp_path, columns))
