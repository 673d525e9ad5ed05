"""A treatment that began under observation is no covariate from time zero: the time-dependent fit
stands for it, an alarm says so, and the clinical model does without it.
"""

from __future__ import annotations

import numpy as np
import pytest
from evaluation.test_analysis_r import disagreements, evaluated_twice
from support.dated_study import write_dated_study
from support.r_oracle import PRELUDE, run_r

from pathoml.errors import CohortError
from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.sections import metrics
from pathoml.study.cohort import read_cohort
from pathoml.training.baselines import clinical_columns

# the Stanford heart transplants, with R's own model of them; half a day for who died on day 0
JASA = """
d <- survival::jasa
d$time <- pmax(d$futime, 0.5) + 0.5 * (!is.na(d$wait.time) & d$wait.time == d$futime)
wanted <- c("time", "fustat", "age", "surgery", "transplant", "wait.time")
for (column in wanted) show(column, d[[column]])
start <- ifelse(is.na(d$wait.time), d$time, pmin(d$wait.time, d$time))
on <- !is.na(d$wait.time) & d$wait.time > 0 & d$wait.time < d$time
rows <- rbind(
  data.frame(age = d$age, start = 0, stop = ifelse(on, d$wait.time, d$time),
    event = ifelse(on, 0, d$fustat), treated = as.numeric(!is.na(d$wait.time) & d$wait.time <= 0)),
  data.frame(age = d$age, start = d$wait.time, stop = d$time, event = d$fustat, treated = 1)[on, ])
z <- (rows$age - mean(d$age)) / sd(d$age)
fit <- coxph(Surv(start, stop, event) ~ z + treated, rows)
show("time_dependent", exp(c(coef(fit)[2], confint(fit)[2, ])))
show("fixed", exp(coef(coxph(Surv(time, fustat) ~ scale(age) + transplant, d)))[2])
"""


@pytest.fixture(scope="module")
def jasa():
    return run_r(PRELUDE + JASA)


def study_of(folder, jasa, **more):
    return write_dated_study(
        folder,
        **{
            "time": jasa["time"],
            "code": jasa["fustat"],
            "score": (jasa["age"] - jasa["age"].mean()) / jasa["age"].std(ddof=1),
            "begun": jasa["wait.time"],
            "columns": {
                "surgery": jasa["surgery"].astype(int),
                "transplant": jasa["transplant"].astype(int),
                "older": (jasa["age"] > 47).astype(int),
            },
            "cohort": {"covariates": ["surgery"], "treatment": "transplant"},
            "evaluate": {
                "subgroups": ["older == 1", "older == 0 and transplant == 0"],
                "horizons_months": [1, 12],
            },
            **more,
        },
    )


@pytest.mark.ci
def test_the_time_dependent_hazard_ratio_of_jasa_equals_r_and_stands_before_all_models(
    tmp_path, jasa
):
    study = study_of(tmp_path, jasa)
    content, of_r = evaluated_twice(study)
    ratio = content["timing"]["treatment_hazard_ratio"]
    np.testing.assert_allclose(
        [ratio["estimate"], ratio["low"], ratio["high"]], jasa["time_dependent"], rtol=1e-6
    )
    assert 0.9 < ratio["estimate"] < 1.2
    assert jasa["fixed"][0] < 0.35  # what a fixed covariate would say
    assert (ratio["n"], content["timing"]["n"]) == (103, 103)
    assert content["timing"]["rows"] == ratio["rows"] > 160
    assert list(content).index("timing") < list(content).index("hazard_ratio_per_sd")
    assert disagreements(content, of_r) == []


@pytest.mark.ci
def test_a_treatment_on_the_way_is_in_no_fixed_model_of_jasa(tmp_path, jasa):
    evidence = read_evidence(study_of(tmp_path, jasa))
    content = metrics(evidence)
    assert list(evidence.clinical) == content["clinical"]["covariates"] == ["surgery"]
    points = {row["variable"] for row in content["prognostic_score"]["points"]}
    assert points == {"surgery", "image score (SD)"}
    effect = content["treatment_interaction"]
    assert "began under observation" in effect["overlap_weighted"]["note"]
    assert effect["interaction"]["n"] == 103
    inside = content["subgroups"][0]["treatment"]
    assert inside["n"] == content["subgroups"][0]["n"] == int((jasa["age"] > 47).sum())
    after = content["subgroups"][1]["score"]["note"]
    assert "'transplant' began under observation" in after
    alarm = next(a for a in content["alarms"] if a["name"] == "immortal_time")
    assert "of 69 treated patients began 'transplant' under observation" in alarm["message"]
    assert f"until it began, is {jasa['time_dependent'][0]:.2f} (" in alarm["message"]


def small(folder, **more):
    """Return a study of 60 patients, 30 treated on day 0 unless `begun` says otherwise."""
    rng = np.random.default_rng(4)
    arm = np.arange(60) % 2
    shared = {
        "time": np.round(rng.exponential(600, 60)) + 40,
        "code": (rng.uniform(size=60) < 0.7).astype(int),
        "score": rng.normal(size=60),
        "begun": [0.0 if a else None for a in arm],
        "columns": {"lat": ["yes" if a else "no" for a in arm], "age": rng.integers(40, 80, 60)},
        "cohort": {"covariates": ["age"], "treatment": "lat"},
    }
    return write_dated_study(folder, **{**shared, **more})


def alarms(study):
    return {a["name"]: a["message"] for a in metrics(read_evidence(study))["alarms"]}


def test_a_treatment_at_time_zero_is_a_covariate_and_no_alarm(tmp_path):
    study = small(tmp_path)
    assert set(clinical_columns(read_cohort(study))) == {"age", "lat"}
    assert not {"immortal_time", "treatment_without_dates", "treatment_dates"} & set(alarms(study))


def test_one_day_after_time_zero_for_one_patient_is_named(tmp_path):
    begun = [0.0 if k % 2 else None for k in range(60)]
    begun[1] = 1.0
    study = small(tmp_path, begun=begun)
    assert "1 of 30 treated patients began 'lat'" in alarms(study)["immortal_time"]
    assert set(clinical_columns(read_cohort(study))) == {"age"}


def test_a_treatment_without_dates_is_an_alarm(tmp_path):
    assert (
        "30 of 60 patients are treated"
        in alarms(small(tmp_path, begun=None))["treatment_without_dates"]
    )


def test_dates_that_everybody_has_are_of_something_else(tmp_path):
    study = small(tmp_path, begun=[0.0] * 60)
    assert "or one that is of something else" in alarms(study)["treatment_without_dates"]


def test_cells_and_dates_that_contradict_each_other_are_counted(tmp_path):
    begun = [0.0 if k % 2 else None for k in range(60)]
    begun[1], begun[3], begun[2] = None, None, 5.0
    message = alarms(small(tmp_path, begun=begun))["treatment_dates"]
    assert "2 treated without a date" in message
    assert "1 untreated with a date within follow-up" in message


def test_a_treatment_after_the_event_counts_as_untreated_and_is_said(tmp_path):
    begun = [20.0 if k % 2 else None for k in range(60)]
    begun[1] = 30000.0
    study = small(tmp_path, begun=begun)
    content = metrics(read_evidence(study))
    assert content["timing"]["treated_under_observation"] == 29
    assert content["timing"]["treatments"][0]["after_follow_up"] == 1
    assert "(1 not before their event or last visit)" in alarms(study)["immortal_time"]


def test_a_treatment_before_entry_is_no_immortal_time(tmp_path):
    begun = [10.0 if k % 2 else None for k in range(60)]
    study = small(tmp_path, begun=begun, entry=[15.0] * 60)
    assert "immortal_time" not in alarms(study)
    assert "lat" in clinical_columns(read_cohort(study))


def test_a_covariate_that_is_the_treatment_is_found_by_its_dates(tmp_path):
    begun = [20.0 if k % 2 else None for k in range(60)]
    study = small(tmp_path, begun=begun, cohort={"covariates": ["age", "lat"]})
    assert set(clinical_columns(read_cohort(study))) == {"age"}
    assert "'lat'" in alarms(study)["immortal_time"]


@pytest.mark.ci
def test_a_landmark_makes_the_treatment_what_had_begun_by_then_in_r_too(tmp_path):
    begun = [(15.0 if k % 4 == 1 else 200.0) if k % 2 else None for k in range(60)]
    study = small(tmp_path, begun=begun, landmark=1.0)
    cohort = read_cohort(study)
    given = [p.covariates["lat"] for p in cohort.patients]
    assert given == [float(int(p.patient_id[1:]) % 4 == 1) for p in cohort.patients]
    content, of_r = evaluated_twice(study)
    assert disagreements(content, of_r) == []
    assert "by the landmark" in alarms(study)["immortal_time"]


@pytest.mark.parametrize("key", ["entry", "treatment"])
def test_a_date_that_counts_from_no_time_zero_is_refused(tmp_path, key):
    dates = {key: "zero"}
    study = small(tmp_path)
    config = study.config.model_copy(
        update={
            "dates": study.config.dates.model_copy(
                update={"time_zero": None, "entry": None, "treatment": None} | dates
            )
        }
    )
    with pytest.raises(CohortError, match=f"dates.{key} is 'zero', but dates.time_zero names no"):
        read_cohort(study.model_copy(update={"config": config}))


def test_who_enters_after_leaving_is_refused_even_without_a_column_of_exits(tmp_path):
    with pytest.raises(
        CohortError, match=r"patient P0002: entry 1913-09-10 is 164\.3 months after"
    ):
        small(tmp_path, entry=[5000.0 if k == 2 else 0.0 for k in range(60)])
