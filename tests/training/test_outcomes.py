"""What a model learns from: outcome, strata and offset of its own training rows, which stay with
the patient.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.learning import planted_cohort

from pathoml.errors import CohortError
from pathoml.training.baselines import clinical_predictor
from pathoml.training.clinical_part import clinical_columns
from pathoml.training.model_stack import ModelSpec
from pathoml.training.outcomes import Lessons, strata_of
from pathoml.types import Cohort, TreatmentStart

SUBTYPES = ("LMS", "UPS", None, " UPS", "rare")


def cohort_with(values, name: str = "subtype") -> Cohort:
    cohort, _, _ = planted_cohort(40)
    return replace(
        cohort,
        patients=tuple(
            replace(p, covariates={**p.covariates, name: values[k % len(values)]})
            for k, p in enumerate(cohort.patients)
        ),
    )


def spec(train, **about) -> ModelSpec:
    return ModelSpec(repeat="r", fold="1", seed=1, train=tuple(train), **about)


def test_strata_are_levels_and_who_lacks_the_covariate_is_a_level_of_its_own():
    found = strata_of(cohort_with(SUBTYPES), "subtype")
    assert found[1] == found[3]
    assert len({*found[:3].tolist(), int(found[4])}) == 4


def test_centre_means_the_hospital_whatever_its_column_is_called():
    cohort, _, _ = planted_cohort(40)
    found = strata_of(cohort, "centre")
    assert [found[k] == found[0] for k in range(40)] == [
        p.centre == cohort.patients[0].centre for p in cohort.patients
    ]


def test_no_strata_is_none():
    assert strata_of(planted_cohort(8)[0], None) is None


def test_zero_and_one_are_strata_too():
    assert len(set(strata_of(cohort_with([0.0, 1.0], "systemic"), "systemic").tolist())) == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("histology", r"'histology', which is neither 'centre' nor one of.*age, subtype"),
        ("age", r"'age', a number with 40 values.*cohort\.categorical"),
    ],
)
def test_what_cannot_be_strata_is_refused_with_what_to_do(name, said):
    with pytest.raises(CohortError, match=said):
        strata_of(cohort_with(SUBTYPES), name)


def test_a_treatment_that_began_later_is_no_stratum_and_in_no_offset():
    start = TreatmentStart(column="systemic", dated=True, treated=20, later=5)
    cohort = replace(cohort_with([0.0, 1.0], "systemic"), treatment_starts=(start,))
    with pytest.raises(CohortError, match=r"at time zero nobody knows who gets it"):
        strata_of(cohort, "systemic")
    part = Lessons(cohort).clinical(spec(cohort.patient_ids, offset=True))
    assert part.covariates.shape[1] == 1  # age


def test_the_offset_is_the_clinical_model_of_the_model_s_own_training_patients():
    cohort = cohort_with(SUBTYPES)
    train = cohort.patient_ids[5:]
    told = Lessons(cohort).of(spec(train, offset=True))
    expected = clinical_predictor(
        cohort, clinical_columns(cohort), np.isin(cohort.patient_ids, train)
    )
    assert np.array_equal(told.offset, expected)
    assert Lessons(cohort).of(spec(train)).offset is None


def test_inner_training_patients_alone_make_the_offset_of_an_inner_model():
    cohort = cohort_with(SUBTYPES)
    inner = cohort.patient_ids[10:]
    changed = replace(
        cohort,
        patients=tuple(
            replace(p, time_months=99.0, event=0) if k < 10 else p
            for k, p in enumerate(cohort.patients)
        ),
    )
    one, other = (Lessons(c).of(spec(inner, offset=True)).offset for c in (cohort, changed))
    assert np.array_equal(one, other)


def test_offset_and_strata_stay_with_the_patient_whose_bag_is_permuted():
    cohort = cohort_with(SUBTYPES)
    order = tuple(np.random.default_rng(1).permutation(40).tolist())
    lessons = Lessons(cohort, "subtype")
    plain = lessons.of(spec(cohort.patient_ids, offset=True))
    permuted = lessons.of(spec(cohort.patient_ids, offset=True, permutation=1, bag_of=order))
    for name in ("time_months", "event", "stratum", "offset"):
        assert np.array_equal(getattr(plain, name), getattr(permuted, name)), name


def test_in_a_resample_the_offset_is_fitted_to_the_copies():
    cohort = cohort_with(SUBTYPES)
    drawn = tuple(np.random.default_rng(2).integers(0, 3, 40).tolist())
    lessons = Lessons(cohort)
    told = spec(cohort.patient_ids, offset=True, drawn=drawn)
    rows = np.repeat(np.arange(40), drawn)
    assert np.array_equal(lessons.rows(told), rows)
    copied = replace(
        cohort, patients=tuple(replace(cohort.patients[r], patient_id=f"{k}")
                               for k, r in enumerate(rows))
    )  # fmt: skip
    table = clinical_predictor(copied, clinical_columns(copied), np.ones(len(rows), dtype=bool))
    assert lessons.of(told).offset[rows] == pytest.approx(table)


def test_strata_that_leave_nobody_to_compare_are_refused_by_the_name_of_the_fold():
    cohort = cohort_with([f"level {k}" for k in range(40)])
    lessons = Lessons(cohort, "subtype")
    alone = spec(cohort.patient_ids)
    assert lessons.refusal([alone]).startswith("r, fold 1: the strata leave no event")
    with pytest.raises(CohortError, match=r"Use fewer or larger strata \(train\.strata\)"):
        lessons.of(alone)
    assert not Lessons(cohort).refusal([alone])


def test_one_stratum_in_which_somebody_is_compared_is_enough():
    cohort = cohort_with([f"level {k}" for k in range(40)])
    first = min(range(40), key=lambda k: (cohort.patients[k].event != 1, k))
    longest = max(range(40), key=lambda k: cohort.patients[k].time_months)
    together = replace(
        cohort,
        patients=tuple(
            replace(p, covariates={**p.covariates, "subtype": "a"}) if k in (first, longest) else p
            for k, p in enumerate(cohort.patients)
        ),
    )
    assert not Lessons(together, "subtype").refusal([spec(cohort.patient_ids)])


def test_at_gives_the_keywords_of_a_cox_fit():
    cohort = cohort_with(SUBTYPES)
    lessons, rows = Lessons(cohort, "subtype"), np.array([3, 3, 7])
    told = lessons.of(spec(cohort.patient_ids, offset=True)).at(rows)
    assert told["entry_months"] is None
    assert told["stratum"][0] == told["stratum"][1]
    assert len(told["offset"]) == 3
