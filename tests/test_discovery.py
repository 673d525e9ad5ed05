"""Phenotypes: a planted tissue is found blind to the outcome and tested; noise is not; raters are read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from pathoml.discovery.codebook import learn_codebook
from pathoml.discovery.description import describe
from pathoml.discovery.evidence import estimable_design, log_ratios, weigh
from pathoml.discovery.naming import write_naming_sheet
from pathoml.discovery.sheets import TileRef, best_tiles
from pathoml.survival.cox import fit_cox
from pathoml.survival.martingale import martingale_residuals, permutation_p
from pathoml.survival.rater_agreement import cohen_kappa, fleiss_kappa
from pathoml.synthetic.truth import roc_auc
from pathoml.types import Bag, Cohort, Patient, Slide


def tissues(seed: int, patients: int = 40) -> tuple[list[Bag], np.ndarray, np.ndarray]:
    """Return bags of three tissues in 24 dimensions, the tissue of each tile, and each patient's share of tissue 0."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(3, 24)) * 3
    bags, tissue, shares = [], [], []
    for patient in range(patients):
        share = rng.dirichlet([1.0, 1.0, 1.0])
        own = rng.choice(3, 80, p=share)
        features = (directions[own] + rng.normal(size=(80, 24))).astype(np.float16)
        bags.append(
            Bag(
                patient_id=f"P{patient}",
                features=features,
                slide_index=np.zeros(80, int),
                slide_ids=(f"S{patient}",),
                xy_l0=np.zeros((80, 2), int),
            )
        )
        tissue.append(own)
        shares.append((own == 0).mean())
    return bags, np.concatenate(tissue), np.array(shares)


def cohort_of(log_risk: np.ndarray, seed: int) -> Cohort:
    rng = np.random.default_rng(seed)
    time = rng.exponential(np.exp(-log_risk)) * 12 + 0.1
    cut = rng.uniform(5, 40, len(time))
    patients = tuple(
        Patient(
            patient_id=f"P{b}",
            centre="AB"[b % 2],
            time_months=float(min(time[b], cut[b])),
            event=int(time[b] <= cut[b]),
            slide_ids=(f"S{b}",),
            covariates={},
        )
        for b in range(len(time))
    )
    slides = tuple(Slide(slide_id=f"S{b}", patient_id=f"P{b}", path=None, specimen="primary") for b in range(len(time)))
    return Cohort(patients=patients, slides=slides, endpoint="e", time_zero="t", excluded=())


def test_three_tissues_are_three_stable_phenotypes_and_the_driver_has_the_evidence() -> None:
    bags, tissue, share = tissues(1)
    codebook = learn_codebook(bags, seed=1)
    assert len(codebook.centres) == 3
    assert codebook.stability.min() > 0.9
    near = codebook.similarity(np.concatenate([b.features for b in bags]))
    counts = np.stack([np.bincount(near[i * 80 : (i + 1) * 80].argmax(axis=1), minlength=3) for i in range(len(bags))]).astype(float)
    cohort = cohort_of(4 * share, 1)
    evidence = weigh(log_ratios(counts), cohort, np.empty((len(bags), 0)))
    driver = min(range(3), key=lambda k: evidence[k].p_value)
    assert evidence[driver].p_value < 0.01
    ratio = evidence[driver].hazard_ratio_sd
    assert ratio is not None
    assert ratio.estimate > 1
    assert roc_auc(tissue == 0, near[:, driver]) > 0.95


def test_the_codebook_knows_no_outcome_and_no_order_of_patients_names() -> None:
    bags, _, _ = tissues(2, patients=12)
    assert np.array_equal(learn_codebook(bags, number=3).centres, learn_codebook(bags, number=3).centres)


def test_permutation_p_is_uniform_under_the_null() -> None:
    rng = np.random.default_rng(1)
    cohort = cohort_of(np.zeros(40), 2)
    residual = martingale_residuals(np.zeros(40), cohort.time_months, cohort.event, cohort.centre)
    p = permutation_p(residual, rng.normal(size=(40, 400)), cohort.centre, permutations=199, seed=1)
    assert 0.02 < (p <= 0.05).mean() < 0.085
    assert abs(p.mean() - 0.5) < 0.05


def test_martingale_residuals_are_the_score_of_a_cox_model_without_ties() -> None:
    cohort = cohort_of(np.zeros(30), 3)
    x = np.random.default_rng(3).normal(size=30)
    residual = martingale_residuals(np.zeros(30), cohort.time_months, cohort.event, cohort.centre)
    assert [residual[cohort.centre == c].sum() for c in "AB"] == pytest.approx([0, 0], abs=1e-12)
    step = 1e-5  # the score at zero is the slope of the log-likelihood there
    ends = [
        fit_cox(np.empty((30, 0)), cohort.time_months, cohort.event, stratum=cohort.centre, offset=sign * step * x).log_likelihood
        for sign in (1, -1)
    ]
    assert residual @ x == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-5)


def test_covariates_that_separate_the_events_are_left_out_of_the_adjustment_and_that_is_said() -> None:
    cohort = cohort_of(np.zeros(30), seed=4)
    told = tuple(replace(p, covariates={"tell_tale": float(p.event), "age": float(b)}) for b, p in enumerate(cohort.patients))
    design, said = estimable_design(replace(cohort, patients=told), ["tell_tale", "age"])
    assert design.shape == (30, 0)
    assert said.startswith("Not adjusted for tell_tale, age: their own model is not estimable (The coefficient of covariate")
    design, said = estimable_design(replace(cohort, patients=told), ["age"])
    assert (design.shape, said) == ((30, 1), "Adjusted for age, stratified by centre.")


def test_log_ratios_of_an_absent_phenotype_are_finite() -> None:
    assert log_ratios(np.array([[0.0, 9.0]])).tolist() == [[np.log(0.5 / 9.5), np.log(9.5 / 0.5)]]


def test_a_phenotype_of_one_centre_is_suspect() -> None:
    counts = np.array([[50.0, 50.0]] * 6 + [[0.0, 100.0]] * 6)
    centre = np.array(["A"] * 6 + ["B"] * 6)
    slides = {f"S{i}": c for i, c in enumerate(counts)}
    found = describe(counts, centre, [""] * 12, slides, {"S0": "primary", "S7": "metastasis"}, np.zeros(2))
    assert found[0].suspect == "100% from centre A"
    assert found[1].suspect == ""
    assert (found[0].n_patients, found[0].n_centres, found[0].share_primary, found[0].share_metastasis) == (6, 1, 0.5, 0.0)


def test_a_contact_sheet_takes_two_tiles_of_a_patient_at_most() -> None:
    tiles = [
        TileRef(slide_id=f"S{p}", patient_id=f"P{p}", xy_l0=(i, 0), tile_l0=10, value=10 - p - i / 10) for p in range(3) for i in range(5)
    ]
    assert [t.patient_id for t in best_tiles(tiles, count=5)] == ["P0", "P0", "P1", "P1", "P2"]


def test_kappa_is_that_of_the_textbooks() -> None:
    first, second = np.repeat([2, 2, 1, 1], [20, 5, 10, 15]), np.repeat([2, 1, 2, 1], [20, 5, 10, 15])
    assert cohen_kappa(first, second, weighted=False).estimate == pytest.approx(0.4)
    readings = np.random.default_rng(1).integers(1, 6, (2, 50))
    for weighted, weights in ((False, None), (True, "quadratic")):
        theirs = cohen_kappa_score(*readings, labels=[1, 2, 3, 4, 5], weights=weights)
        assert cohen_kappa(*readings, weighted=weighted).estimate == pytest.approx(theirs)
    table = np.array(
        [
            [0, 0, 0, 0, 14],
            [0, 2, 6, 4, 2],
            [0, 0, 3, 5, 6],
            [0, 3, 9, 2, 0],
            [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0],
            [3, 2, 6, 3, 0],
            [2, 5, 3, 2, 2],
            [6, 5, 2, 1, 0],
            [0, 2, 2, 3, 7],
        ]
    )
    kappa = fleiss_kappa(table)
    assert kappa.estimate == pytest.approx(0.210, abs=5e-4)
    assert kappa.low is not None
    assert kappa.low < 0.21


def test_the_naming_sheet_shows_raters_no_name_and_repeats_a_tenth(tmp_path: Path) -> None:
    cohort = cohort_of(np.zeros(20), 4)
    write_naming_sheet(tmp_path, cohort, [[], [], [], []], [3, 0, 1, 2])
    sheet = tmp_path / "naming_sheet"
    texts = [(sheet / f"ratings_rater{r}.csv").read_text() for r in (1, 2)]
    rows = [text.splitlines()[1:] for text in texts]
    assert all(len(r) == 60 + 6 for r in rows)
    assert [line.split(",")[2] for line in rows[0]] != [line.split(",")[2] for line in rows[1]]
    for text in (*texts, (sheet / "index.html").read_text()):
        assert not any(word in text for word in ("S1", "P1", "centre", "event", "months"))
    assert (sheet / "key.csv").read_text().splitlines()[0] == "item,slide_id,phenotype"
