"""The C to quote is the one that metrics.json names, and differences stand beside the forest."""

from __future__ import annotations

from pathoml.report.discrimination import discrimination_context


def test_differences_stand_with_their_intervals_and_reasons():
    difference = {"estimate": 0.05, "low": -0.01, "high": 0.11}
    found = discrimination_context(
        {
            "headline": "harrell_c_centre_stratified",
            "differences": {
                "image_minus_ridge_cox": difference,
                "image_minus_clinical": {"estimate": None, "note": "not estimable: no covariates"},
            },
            "added_value": {"delta_harrell_c": difference},
        }
    )
    assert found["c_to_quote"] == "within centres"
    assert [text for _, text in found["c_differences"]] == [
        "+0.050 (-0.010 to +0.110)",
        "not estimable: no covariates",
        "+0.050 (-0.010 to +0.110)",
    ]


def test_of_one_centre_all_patients_are_compared():
    assert discrimination_context({"headline": "harrell_c"})["c_to_quote"] == "all patients"
