"""Phenotypes: a planted tissue is found blind to the outcome and tested; noise is not; raters are
read back.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.learning import planted_cohort, write_study
from support.tissues import cohort_of, tissues

from pathoml.config import load_study
from pathoml.discovery.codebook import learn_codebook
from pathoml.discovery.description import describe
from pathoml.discovery.evidence import log_ratios, weigh
from pathoml.discovery.step import discover_study
from pathoml.store.maps import read_assignments, write_assignments
from pathoml.synthetic.truth import roc_auc
from pathoml.training.step import train_study
from pathoml.types import Assignments


def test_three_tissues_are_three_stable_phenotypes_and_the_driver_has_the_evidence() -> None:
    bags, tissue, share = tissues(1)
    codebook = learn_codebook(bags, seed=1)
    assert len(codebook.centres) == 3
    assert codebook.stability.min() > 0.9
    near = codebook.similarity(np.concatenate([b.features for b in bags]))
    counts = np.stack(
        [
            np.bincount(near[i * 80 : (i + 1) * 80].argmax(axis=1), minlength=3)
            for i in range(len(bags))
        ]
    ).astype(float)
    cohort = cohort_of(4 * share, 1)
    evidence = weigh(log_ratios(counts), cohort, np.empty((len(bags), 0)))
    driver = min(range(3), key=lambda k: evidence[k].p_value)
    assert evidence[driver].p_value < 0.01
    ratio = evidence[driver].hazard_ratio_sd
    assert ratio is not None
    assert ratio.estimate > 1
    assert roc_auc(tissue == 0, near[:, driver]) > 0.95


def test_membership_is_kept_with_the_assignments_and_older_files_have_none(tmp_path: Path) -> None:
    own = Assignments(
        slide_id="S1",
        xy_l0=np.zeros((2, 2), int),
        tile_l0=8,
        phenotype=np.array([1, 0]),
        membership=None,
    )
    write_assignments(tmp_path / "old.h5", own)
    assert read_assignments(tmp_path / "old.h5").membership is None
    write_assignments(
        tmp_path / "new.h5", replace(own, membership=np.array([[-0.25, 0.25], [0.5, -0.5]]))
    )
    found = read_assignments(tmp_path / "new.h5").membership
    assert found is not None
    assert found.tolist() == [[-0.25, 0.25], [0.5, -0.5]]


@pytest.mark.ci  # learning the codebook of a study
def test_discover_asks_for_the_interaction_with_a_treatment_in_words(tmp_path: Path) -> None:
    cohort, bags, _ = planted_cohort(30)
    write_study(tmp_path, cohort, bags)
    head, *rows = (tmp_path / "patients.csv").read_text(encoding="utf-8").splitlines()
    rows = [
        f"{row},{'ja' if i // 2 % 2 else 'nein'}" for i, row in enumerate(rows)
    ]  # the centre is the parity of i
    (tmp_path / "patients.csv").write_text("\n".join([f"{head},lat", *rows]), encoding="utf-8")
    quick = [
        "splits.folds=2",
        "splits.repeats=1",
        "train.epochs=1",
        "train.seeds=1",
        "train.nested=false",
    ]
    study = load_study(tmp_path, ["cohort.treatment=lat", *quick])
    train_study(study)
    found = discover_study(study)
    assert any(row["interaction_p"] is not None for row in found.rows)


def test_a_phenotype_of_one_centre_is_suspect() -> None:
    counts = np.array([[50.0, 50.0]] * 6 + [[0.0, 100.0]] * 6)
    centre = np.array(["A"] * 6 + ["B"] * 6)
    slides = {f"S{i}": c for i, c in enumerate(counts)}
    found = describe(
        counts,
        centre,
        [""] * 12,
        slide_counts=slides,
        specimen={"S0": "primary", "S7": "metastasis"},
        contribution=np.zeros(2),
    )
    assert found[0].suspect == "100% from centre A"
    assert found[1].suspect == ""
    assert (
        found[0].n_patients,
        found[0].n_centres,
        found[0].share_primary,
        found[0].share_metastasis,
    ) == (6, 1, 0.5, 0.0)
