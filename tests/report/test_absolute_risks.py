"""A model that is worse than none is called so, and net benefit has an interval."""

from __future__ import annotations

from pathoml.report.absolute_risks import added_benefit, risk_slopes, worse_than_no_model


def row(**estimates):
    return {name: {"estimate": value} for name, value in estimates.items()}


def test_every_horizon_at_which_a_model_is_worse_than_none_is_named():
    metrics = {
        "brier": {
            "12": row(no_model=0.20, image=0.19, clinical=0.21),
            "24": row(no_model=0.25, image=0.26, clinical=0.27),
        },
        "integrated_brier": {"until_months": 24.0, **row(no_model=0.2, image=0.19, clinical=0.22)},
    }
    assert worse_than_no_model(metrics) == [
        "clinical: Brier score worse than without any model at 12 months (0.210 against 0.200),"
        " 24 months (0.270 against 0.250), integrated to 24 months (0.220 against 0.200).",
        "image score: Brier score worse than without any model at 24 months (0.260 against 0.250).",
    ]


def test_a_brier_score_that_is_not_estimable_is_not_called_worse():
    none = {"estimate": None, "note": "not estimable: 3 patients"}
    assert worse_than_no_model({"brier": {"12": {"no_model": none, "image": none}}}) == []


def test_the_slopes_are_those_of_the_risks_and_not_of_the_score():
    slope = {"estimate": 0.9, "low": 0.5, "high": 1.3}
    calibration = {"slope": {"estimate": 3.0}, "slope_of_risks": {"image": slope}}
    assert risk_slopes({"calibration": calibration}) == [("image score", "0.90 (0.50 to 1.30)")]


def test_net_benefit_is_given_of_a_hundred_patients_with_its_interval():
    thresholds = [0.1, 0.2, 0.3, 0.4, 0.5]
    content = {
        "threshold": thresholds,
        "clinical": [0.1] * 5,
        "clinical_and_image": [0.12] * 5,
        "intervals": {
            "clinical_and_image_minus_clinical": {"low": [-0.01] * 5, "high": [0.05] * 5}
        },
    }
    found = added_benefit({"decision_curve": {"24": content, "60": {"note": "not estimable"}}})
    assert found["rows"] == [("24", ["+2.0 (-1.0 to +5.0)"] * 5)]
