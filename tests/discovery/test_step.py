"""Phenotypes: a planted tissue is found blind to the outcome and tested; noise is not; raters are
read back.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from support.learning import planted_cohort, write_study

from pathoml.config import load_study
from pathoml.discovery.codebook import _neighbourhoods, _offsets, learn_codebook, membership
from pathoml.discovery.description import describe
from pathoml.discovery.evidence import estimable_design, log_ratios, treatment_arms, weigh
from pathoml.discovery.naming import write_naming_sheet
from pathoml.discovery.neighbourhood import PersistentAxes, neighbour_pairs
from pathoml.discovery.step import discover_study
from pathoml.slides.sheets import TileRef, best_tiles
from pathoml.store.maps import read_assignments, write_assignments
from pathoml.survival.cox import fit_cox
from pathoml.survival.martingale import martingale_residuals, permutation_p
from pathoml.survival.rater_agreement import cohen_kappa, fleiss_kappa
from pathoml.synthetic.truth import roc_auc
from pathoml.training.step import train_study
from pathoml.types import Assignments, Bag, Cohort, Patient, Slide


def tissues(seed: int, patients: int = 40) -> tuple[list[Bag], np.ndarray, np.ndarray]:
    """Return bags of three tissues in 24 dimensions, the tissue of each tile, and each patient's
    share of tissue 0.
    """
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


def regions(
    seed: int, patients: int = 24, side: int = 16
) -> tuple[list[Bag], np.ndarray, list[str]]:
    """Return bags of three tissues in bands of a slide, the tissue of each tile, and centres whose
    stains lie further apart than tissues.

    A tile's own variation is as large as the difference of two tissues, and larger still along one
    axis that says nothing of tissue.
    """
    rng = np.random.default_rng(seed)
    directions, stains = rng.normal(size=(3, 24)), 2.5 * rng.normal(size=(3, 24))
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    bags, tissue = [], []
    for patient in range(patients):
        edges = np.sort(rng.uniform(0, side, 2))
        own = np.digitize((x + rng.uniform(-1, 1) * y).ravel() % side, edges)
        noise = rng.normal(size=(side * side, 24)) * np.where(np.arange(24) == 0, 6.0, 1.2)
        features = (directions[own] + stains[patient % 3] + noise).astype(np.float16)
        xy = np.stack([x.ravel(), y.ravel()], axis=1) * 224
        bags.append(
            Bag(
                patient_id=f"P{patient}",
                features=features,
                slide_index=np.zeros(len(own), int),
                slide_ids=(f"S{patient}",),
                xy_l0=xy,
            )
        )
        tissue.append(own)
    return bags, np.concatenate(tissue), ["ABC"[patient % 3] for patient in range(patients)]


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
    slides = tuple(
        Slide(slide_id=f"S{b}", patient_id=f"P{b}", path=None, specimen="primary")
        for b in range(len(time))
    )
    return Cohort(patients=patients, slides=slides, endpoint="e", time_zero="t", excluded=())


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


def test_phenotypes_are_kinds_of_tissue_and_not_the_stains_of_centres() -> None:
    bags, tissue, centre = regions(1)
    codebook = learn_codebook(bags, centre, number=3)
    graded = np.concatenate(
        [membership(codebook.similarity(b.features, c)) for b, c in zip(bags, centre)]
    )
    best = [max(roc_auc(tissue == k, graded[:, j]) for j in range(3)) for k in range(3)]
    assert min(best) > 0.85
    where = np.repeat(centre, [len(b.features) for b in bags])
    shares = np.array(
        [[(graded[where == c].argmax(axis=1) == j).mean() for j in range(3)] for c in "ABC"]
    )
    assert shares.max() < 0.6  # no phenotype is a centre


def test_what_changes_from_tile_to_tile_does_not_seem_to_persist_after_averaging() -> None:
    """Means of neighbouring tiles share tiles; on small slides of fine tissue axes of noise were
    learned, and kinds of tissue blended.
    """
    rng = np.random.default_rng(1)
    place = np.stack(np.meshgrid(np.arange(12), np.arange(12)), axis=-1).reshape(-1, 2)
    bags = []
    for _ in range(20):
        kinds = (
            np.repeat(rng.normal(size=9), 16).reshape(3, 3, 4, 4).swapaxes(1, 2).ravel()
        )  # squares of four by four tiles
        features = np.stack([kinds, 2 * rng.normal(size=144)], axis=1).astype(np.float32)
        bags.append(
            replace(
                tissues(3, patients=1)[0][0],
                features=features,
                slide_index=np.zeros(144, int),
                xy_l0=place * 224,
            )
        )
    zero = np.zeros(2, np.float32)
    rows = [np.arange(144)] * 20
    shared, axes = _neighbourhoods(
        bags, ["A"] * 20, rows, zero, {"A": zero}, np.eye(2, dtype=np.float32)
    )
    along = np.concatenate([bag.features for bag in bags]) @ axes
    assert along[:, 1].std() < 0.4 * along[:, 0].std()
    assert (
        np.concatenate(shared)[:, 1].std() < 0.6 * 2
    )  # the means themselves are smoothed, of course


def test_a_stain_that_is_left_on_would_have_been_the_phenotype() -> None:
    bags, _, centre = regions(1)
    codebook = learn_codebook(bags, number=3)  # what centres are is not told
    own = np.concatenate([codebook.similarity(b.features).argmax(axis=1) for b in bags])
    where = np.repeat(centre, [len(b.features) for b in bags])
    shares = np.array([[(own[where == c] == j).mean() for j in range(3)] for c in "ABC"])
    assert shares.max() > 0.9  # of one centre's tiles, whose tissues are those of the others


def test_what_is_taken_off_a_centre_is_the_best_linear_prediction_of_its_offset() -> None:
    """By hand: patients' means 0, 2 | 10, 12, 14 in one axis; within 1 + 1 + 4 + 0 + 4 over 3, and
    so on.
    """
    values = [0.0, 2.0, 10.0, 12.0, 14.0]
    bags = [
        replace(bag, features=np.full((80, 2), v, np.float16))
        for bag, v in zip(tissues(3, patients=5)[0], values)
    ]
    mean, offsets = _offsets(bags, [*"AABBB"])
    within, between = 10 / 3, 2 * (1 - 7.6) ** 2 + 3 * (12 - 7.6) ** 2  # per axis; two axes alike
    variance = (between - within) / (5 - 13 / 5)
    assert mean == pytest.approx([7.6, 7.6])
    assert offsets["A"] == pytest.approx(
        [(1 - 7.6) * variance / (variance + within / 2)] * 2, rel=1e-6
    )
    assert offsets["B"] == pytest.approx(
        [(12 - 7.6) * variance / (variance + within / 3)] * 2, rel=1e-6
    )


@pytest.mark.parametrize("centre", ["AAAAA", "ABCDE", "ABABA"])
def test_nothing_is_taken_off_where_centres_do_not_differ_or_cannot_be_told_from_patients(
    centre: str,
) -> None:
    values = [1.0, 1.0, 5.0, 5.0, 3.0]
    bags = [
        replace(bag, features=np.full((80, 2), v, np.float16))
        for bag, v in zip(tissues(3, patients=5)[0], values)
    ]
    assert all(not offset.any() for offset in _offsets(bags, [*centre])[1].values())


def test_an_axis_that_stays_from_tile_to_tile_comes_before_one_that_varies_more() -> None:
    rng = np.random.default_rng(1)
    column, row = np.meshgrid(np.arange(20), np.arange(20))
    pairs = neighbour_pairs(np.stack([column.ravel(), row.ravel()], axis=1) * 256)
    assert len(pairs) == 2 * 20 * 19 + 2 * 19 * 19  # sides and corners
    persistent = PersistentAxes(2)
    for _ in range(5):
        bands = np.repeat(
            rng.normal(size=4), 100
        )  # five rows each: of 1,482 pairs 117 cross from one band to the next
        persistent.add(np.stack([10 * rng.normal(size=400), bands], axis=1), pairs)
    axes, persistence = persistent.axes()
    assert persistence[0] > 0.8
    assert persistence[1] < 0.1
    assert abs(axes[0, 0]) < 0.01 * abs(axes[1, 0])
    assert np.linalg.norm(axes[:, 1]) < 0.02 * np.linalg.norm(axes[:, 0])
    r2 = persistence[0] ** 2
    assert axes[:, 0] @ (persistent.within / persistent.tiles) @ axes[:, 0] == pytest.approx(
        (r2 / (r2 + 0.01)) ** 2, rel=1e-3
    )


def test_places_that_are_unknown_leave_each_tile_its_own_neighbourhood() -> None:
    assert neighbour_pairs(np.zeros((50, 2), int)).shape == (0, 2)
    assert neighbour_pairs(np.zeros((1, 2), int)).shape == (0, 2)
    axes, persistence = PersistentAxes(3).axes()
    assert axes.tolist() == np.eye(3).tolist()
    assert persistence.tolist() == [1, 1, 1]


def test_tiles_of_other_tools_on_two_lattices_find_their_neighbours() -> None:
    first, second = np.array([[0, 0], [256, 0]]), np.array([[5000, 131], [5000, 387], [9000, 131]])
    assert neighbour_pairs(np.concatenate([first, second])).tolist() == [[0, 1], [2, 3]]


def test_membership_is_the_lead_over_the_nearest_rival_and_positive_in_the_own_only() -> None:
    near = np.array([[0.75, 0.5, -0.25], [0.25, 0.25, 0.0], [-0.5, 0.5, 0.375]], np.float32)
    assert membership(near).tolist() == [
        [0.25, -0.25, -1.0],
        [0.0, 0.0, -0.25],
        [-1.0, 0.125, -0.125],
    ]


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


def test_the_codebook_knows_no_outcome_and_no_order_of_patients_names() -> None:
    bags, _, _ = tissues(2, patients=12)
    assert np.array_equal(
        learn_codebook(bags, number=3).centres, learn_codebook(bags, number=3).centres
    )


def test_permutation_p_is_uniform_under_the_null() -> None:
    rng = np.random.default_rng(1)
    cohort = cohort_of(np.zeros(40), 2)
    residual = martingale_residuals(
        np.zeros(40), cohort.time_months, cohort.event, stratum=cohort.centre
    )
    p = permutation_p(residual, rng.normal(size=(40, 400)), cohort.centre, permutations=199, seed=1)
    assert 0.02 < (p <= 0.05).mean() < 0.085
    assert abs(p.mean() - 0.5) < 0.05


def test_martingale_residuals_are_the_score_of_a_cox_model_without_ties() -> None:
    cohort = cohort_of(np.zeros(30), 3)
    x = np.random.default_rng(3).normal(size=30)
    residual = martingale_residuals(
        np.zeros(30), cohort.time_months, cohort.event, stratum=cohort.centre
    )
    assert [residual[cohort.centre == c].sum() for c in "AB"] == pytest.approx([0, 0], abs=1e-12)
    step = 1e-5  # the score at zero is the slope of the log-likelihood there
    ends = [
        fit_cox(
            np.empty((30, 0)),
            cohort.time_months,
            cohort.event,
            stratum=cohort.centre,
            offset=sign * step * x,
        ).log_likelihood
        for sign in (1, -1)
    ]
    assert residual @ x == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-5)


def test_covariates_that_separate_the_events_are_left_out_of_the_adjustment_and_that_is_said() -> (
    None
):
    cohort = cohort_of(np.zeros(30), seed=4)
    told = tuple(
        replace(p, covariates={"tell_tale": float(p.event), "age": float(b)})
        for b, p in enumerate(cohort.patients)
    )
    design, said = estimable_design(replace(cohort, patients=told), ["tell_tale", "age"])
    assert design.shape == (30, 0)
    assert said.startswith(
        "Not adjusted for tell_tale, age: their own model is not estimable (The coefficient of"
        " covariate"
    )
    design, said = estimable_design(replace(cohort, patients=told), ["age"])
    assert (design.shape, said) == ((30, 1), "Adjusted for age, stratified by centre.")


def with_treatment(cohort: Cohort, cells: list[object]) -> Cohort:
    return replace(
        cohort,
        patients=tuple(
            replace(p, covariates={"lat": cells[b % len(cells)]})
            for b, p in enumerate(cohort.patients)
        ),
    )


def interaction(cohort: Cohort) -> tuple[float | None, float | None]:
    value = np.random.default_rng(5).normal(size=(len(cohort.patients), 1))
    (evidence,) = weigh(
        value, cohort, np.empty((len(cohort.patients), 0)), arms=treatment_arms(cohort, "lat")[0]
    )
    return evidence.interaction_p, evidence.interaction_ratio


def test_the_interaction_with_a_treatment_does_not_depend_on_the_words_for_it() -> None:
    cohort = cohort_of(np.zeros(30), 3)
    numbers = interaction(with_treatment(cohort, [1.0, 0.0, 0.0, 1.0]))
    assert None not in numbers
    assert interaction(with_treatment(cohort, ["yes", "no", "nein", "Ja"])) == numbers


def test_patients_of_unknown_treatment_are_left_out_of_the_interaction_and_that_is_said() -> None:
    cohort = with_treatment(cohort_of(np.zeros(30), 3), ["yes", "no", "no", None])
    arms, said = treatment_arms(cohort, "lat")
    value, known = np.random.default_rng(5).normal(size=(30, 1)), ~np.isnan(arms)
    part = replace(
        cohort, patients=tuple(p for p, of_known in zip(cohort.patients, known) if of_known)
    )
    (of_all,) = weigh(value, cohort, np.empty((30, 0)), arms=arms)
    (of_known,) = weigh(value[known], part, np.empty((known.sum(), 0)), arms=arms[known])
    assert of_all.interaction_p == pytest.approx(of_known.interaction_p)
    assert said == "Interactions with the treatment are of the patients whose 'lat' is known."


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [(["RFA", "TACE"], "holds 'RFA', 'TACE'; it must be 0 or 1"), (["yes"], "'lat' does not vary")],
)
def test_an_interaction_that_cannot_be_asked_for_is_said_to_be_left_out(
    cells: list[object], sentence: str
) -> None:
    arms, said = treatment_arms(with_treatment(cohort_of(np.zeros(6), 3), cells), "lat")
    assert arms is None
    assert said.startswith("Interactions with the treatment are left out")
    assert sentence in said


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


def test_log_ratios_of_an_absent_phenotype_are_finite() -> None:
    assert log_ratios(np.array([[0.0, 9.0]])).tolist() == [[np.log(0.5 / 9.5), np.log(9.5 / 0.5)]]


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


def test_a_contact_sheet_takes_two_tiles_of_a_patient_at_most() -> None:
    tiles = [
        TileRef(
            slide_id=f"S{p}", patient_id=f"P{p}", xy_l0=(i, 0), tile_l0=10, value=10 - p - i / 10
        )
        for p in range(3)
        for i in range(5)
    ]
    assert [t.patient_id for t in best_tiles(tiles, count=5)] == ["P0", "P0", "P1", "P1", "P2"]


def test_kappa_is_that_of_the_textbooks() -> None:
    first, second = (
        np.repeat([2, 2, 1, 1], [20, 5, 10, 15]),
        np.repeat([2, 1, 2, 1], [20, 5, 10, 15]),
    )
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
    write_naming_sheet(tmp_path, cohort, [[], [], [], []], order=[3, 0, 1, 2])
    sheet = tmp_path / "naming_sheet"
    texts = [(sheet / f"ratings_rater{r}.csv").read_text() for r in (1, 2)]
    rows = [text.splitlines()[1:] for text in texts]
    assert all(len(r) == 60 + 6 for r in rows)
    assert [line.split(",")[2] for line in rows[0]] != [line.split(",")[2] for line in rows[1]]
    for text in (*texts, (sheet / "index.html").read_text()):
        assert not any(word in text for word in ("S1", "P1", "centre", "event", "months"))
    assert (sheet / "key.csv").read_text().splitlines()[0] == "item,slide_id,phenotype"
