"""Shortcuts raise an alarm that names them, and honest scores raise none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.evidence import evidence_of
from support.learning import planted_cohort, write_study

from pathoml.config import load_study
from pathoml.errors import CohortError
from pathoml.evaluation.leaks import (
    alarms_of,
    centre_from_embeddings,
    gain_over,
    leak_section,
    rank_correlation,
    share_between,
)
from pathoml.study.cohort import read_cohort


def test_a_score_that_only_knows_the_centre_raises_the_alarm_and_has_no_concordance_within(
    tmp_path: Path,
) -> None:
    cohort, bags, _ = planted_cohort(60, effect=0.0, centres=3)
    study = write_study(tmp_path, cohort, bags)
    cohort = read_cohort(study)  # in the order in which it is read
    code = np.unique(cohort.centre, return_inverse=True)[1].astype(float)
    section, alarms = leak_section(evidence_of(study, code), 0.7)
    assert section["centre_from_score"]["share"] == pytest.approx(1)
    assert section["harrell_c_within"]["centre"]["note"].endswith("compared are equal.")
    assert {"centre", "between_centre"} <= {a["name"] for a in alarms}


def test_a_score_of_patients_raises_nothing(tmp_path: Path) -> None:
    cohort, bags, _ = planted_cohort(60, effect=4.0, centres=3)
    study = write_study(tmp_path, cohort, bags)
    cohort = read_cohort(study)  # in the order in which it is read
    honest = -np.log(cohort.time_months) + np.random.default_rng(0).normal(size=60)
    tiles = np.random.default_rng(1).permutation(60).astype(float)
    section, alarms = leak_section(evidence_of(study, honest, tiles), 0.7)
    assert section["harrell_c_within"]["centre"]["estimate"] > 0.6
    assert alarms == []


def add_column(table: Path, name: str, cells: list[str]) -> None:
    head, *rows = table.read_text(encoding="utf-8").splitlines()
    cells = [cells[i % len(cells)] for i in range(len(rows))]
    table.write_text(
        "\n".join([f"{head},{name}", *(f"{row},{cell}" for row, cell in zip(rows, cells))]),
        encoding="utf-8",
    )


def test_what_the_study_calls_missing_is_neither_a_subtype_nor_an_organ(tmp_path: Path) -> None:
    cohort, bags, _ = planted_cohort(24)
    found = []
    for word in ("not done", ""):
        folder = tmp_path / (word or "empty")
        write_study(folder, cohort, bags)
        add_column(folder / "patients.csv", "subtype", ["LMS", "", "LMS", word, "UPS"])
        add_column(folder / "slides.csv", "organ", ["lung", "", word, "liver", word])
        study = load_study(folder, ["cohort.missing=[Not done]"])
        section, _ = leak_section(evidence_of(study, np.arange(24.0)), 0.7)
        found.append({name: section["harrell_c_within"][name] for name in ("subtype", "organ")})
    assert found[0] == found[1]


def test_a_centre_with_its_own_stain_is_named_from_embeddings_and_labels_drawn_by_lot_are_not() -> (
    None
):
    rng = np.random.default_rng(0)
    centre = np.repeat(["A", "B", "C"], 20)
    stained = rng.normal(size=(60, 30)) + 3 * np.repeat(rng.normal(size=(3, 30)), 20, axis=0)
    assert centre_from_embeddings(stained, centre)["balanced_accuracy"] > 0.95
    assert centre_from_embeddings(stained, rng.permutation(centre))["balanced_accuracy"] < 0.55


def test_what_cannot_be_said_is_refused_by_name() -> None:
    with pytest.raises(CohortError, match="no embeddings"):
        centre_from_embeddings(None, np.array(["A", "B"]))
    with pytest.raises(CohortError, match="one centre"):
        share_between(np.arange(4.0), np.array(["A"] * 4))
    with pytest.raises(CohortError, match="does not vary"):
        rank_correlation(np.arange(4.0), np.ones(4))


def test_a_copy_of_the_subtype_gains_nothing_over_it_and_a_score_of_its_own_does(
    tmp_path: Path,
) -> None:
    cohort, bags, _ = planted_cohort(80, effect=0.0)
    write_study(tmp_path, cohort, bags)
    study = load_study(tmp_path)
    cohort = read_cohort(study)

    def p_value(score: np.ndarray, kind: str) -> float | None:
        evidence = replace(evidence_of(study, score), score_type=kind)
        found: float | None = gain_over(label, evidence)["p_value_anticonservative"]
        return found

    label = np.repeat(["a", "b"], 40)
    copy = (label == "a") + np.random.default_rng(2).normal(size=80) * 0.3
    assert p_value(copy, "external") > 0.05
    own = -np.log(cohort.time_months) + np.random.default_rng(1).normal(size=80) / 2
    assert p_value(own, "external") < 1e-6
    assert p_value(own, "oof") is None  # several centres: no such test of a trained score holds


def test_a_score_that_goes_with_tile_count_says_so() -> None:
    empty = {"estimate": None}
    section = {
        "centre_from_score": {},
        "centre_from_embeddings": {},
        "harrell_c_within": {"centre": empty},
        "rank_correlation": {"tile_count": {"rho": 0.6}, "mpp": {}},
    }
    assert [a["name"] for a in alarms_of(section, 0.6)] == ["tile_count"]
