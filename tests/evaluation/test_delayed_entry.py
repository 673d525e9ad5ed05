"""A run in which patients come under observation late: every number counts them from then on and
equals analysis.R, or its section says why there is none.
"""

from __future__ import annotations

import numpy as np
import pytest
from evaluation.test_analysis_r import disagreements, evaluated_twice
from support.dated_study import write_dated_study
from support.delayed_entry import columns, r_results

from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.sections import metrics
from pathoml.survival.kaplan_meier import kaplan_meier, survival_at

HORIZONS = {"myeloma_late": [12, 24, 60], "mgus2_age": [720, 900, 1020], "nafld1_age": [480, 720]}


def late_study(folder, n=120, seed=2, **more):
    """Return a study of n patients of whom none is observed from time zero."""
    rng = np.random.default_rng(seed)
    score, rows = rng.normal(size=20 * n), []
    for s in score:
        at, entry, last = (
            rng.exponential(900 * np.exp(-0.5 * s)),
            rng.uniform(10, 900),
            rng.uniform(1200, 2700),
        )
        if min(at, last) > entry + 5 and len(rows) < n:
            rows.append((s, round(entry), round(min(at, last)), int(at <= last)))
    s, entry, time, event = (np.array(v) for v in zip(*rows))
    shared = {"time": time, "code": event, "score": s, "entry": entry}
    shared["columns"] = {"age": np.round(60 + 10 * rng.normal(size=n)).astype(int)}
    shared["cohort"] = {"covariates": ["age"]}
    return write_dated_study(folder, **{**shared, **more}), entry, time, event


@pytest.mark.ci
@pytest.mark.parametrize("name", HORIZONS)
def test_r_reproduces_every_number_with_delayed_entry(tmp_path, name):
    d = columns(r_results(), name)
    known = np.flatnonzero(d["time"] > d["entry"])[:500]
    study = write_dated_study(
        tmp_path,
        time=d["time"][known],
        code=d["code"][known],
        score=d["score"][known],
        entry=d["entry"][known],
        columns={"x": d["x"][known], "g": d["g"][known].astype(int)},
        cohort={"covariates": ["x"], "treatment": "g"},
        evaluate={"horizons_months": HORIZONS[name], "subgroups": ["x > 1", "g == 1"]},
    )
    content, of_r = evaluated_twice(study)
    assert disagreements(content, of_r) == []
    assert content["timing"]["n"] == len(known)
    assert content["timing"]["hazard_ratio_per_sd"]["estimate"] == pytest.approx(
        content["hazard_ratio_per_sd"]["estimate"]
    )


def test_the_observed_risk_is_that_of_patients_under_observation(tmp_path):
    study, entry, time, event = late_study(tmp_path)
    content = metrics(read_evidence(study))
    curve = kaplan_meier(time, event, entry_months=entry)
    at24 = float(survival_at(curve, 24 * 30.4375))
    ignored = float(survival_at(kaplan_meier(time, event), 24 * 30.4375))
    assert content["calibration"]["image"]["24"]["observed"]["estimate"] == pytest.approx(1 - at24)
    assert at24 < ignored - 0.1


@pytest.mark.parametrize(
    "find",
    [
        lambda m: m["time_dependent_auc"]["24"],
        lambda m: m["brier"]["24"]["image"],
        lambda m: m["integrated_brier"]["image"],
        lambda m: m["decision_curve"]["24"],
        lambda m: m["calibration"]["image"]["24"]["observed_to_expected"],
    ],
    ids=["auc", "brier", "integrated", "net benefit", "observed over expected"],
)
def test_what_needs_those_who_could_not_come_has_no_number_and_says_why(tmp_path, find):
    content = metrics(read_evidence(late_study(tmp_path)[0]))
    section = find(content)
    assert section["note"].startswith("not estimable: with delayed entry, ")
    assert section.get("estimate") is None


def test_an_alarm_says_how_many_came_late_and_from_when_on_anybody_is_observed(tmp_path):
    study, entry, _, _ = late_study(tmp_path)
    content = metrics(read_evidence(study))
    alarm = next(a for a in content["alarms"] if a["name"] == "delayed_entry")
    assert "120 of 120 patients came under observation after time zero" in alarm["message"]
    assert f"Nobody is observed before {entry.min() / 30.4375:.1f} months" in alarm["message"]
    keys = list(content)
    assert keys.index("timing") < keys.index("harrell_c") < keys.index("kaplan_meier")


def test_a_curve_that_falls_to_zero_with_one_at_risk_is_an_alarm(tmp_path):
    _, entry, time, event = late_study(tmp_path)
    entry[0], time[0], event[0] = 1, 8, 1  # alone until day 10
    study, *_ = late_study(tmp_path / "b", entry=entry, time=time, code=event)
    content = metrics(read_evidence(study))
    alarm = next(a for a in content["alarms"] if a["name"] == "risk_set_empty")
    assert "is 0 from 0.3 months on, when the one patient under observation" in alarm["message"]
    assert "when the one patient under observation" in content["kaplan_meier"]["note"]


def test_nobody_late_is_no_alarm_and_no_other_number(tmp_path):
    at_zero, *_ = late_study(tmp_path / "b", entry=np.zeros(120))
    none, *_ = late_study(tmp_path / "c", entry=None)
    one, other = (metrics(read_evidence(s)) for s in (at_zero, none))
    assert one == other
    assert one["alarms"] == [a for a in one["alarms"] if a["name"] not in ("delayed_entry",)]
