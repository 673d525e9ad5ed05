"""The evidence of a phenotype: adjusted for what can be, asked where it can be asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.tissues import cohort_of

from pathoml.discovery.evidence import estimable_design, log_ratios, treatment_arms, weigh
from pathoml.types import Cohort


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


def test_log_ratios_of_an_absent_phenotype_are_finite() -> None:
    assert log_ratios(np.array([[0.0, 9.0]])).tolist() == [[np.log(0.5 / 9.5), np.log(9.5 / 0.5)]]
