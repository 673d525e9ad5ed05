"""The page names the test that holds, and says of few permutations that they are too few."""

from __future__ import annotations

import pytest

from pathoml.report.chance import chance_context
from pathoml.report.wording import summary

NOTE = "Wald and likelihood-ratio p values are anticonservative."
STATISTIC = "Harrell's C over pairs of one fold and centre"
TWO = {"by_centre": {"A": {"patients": 30}, "B": {"patients": 30}}}
ONE = {"by_centre": {"A": {"patients": 60}}}


def metrics_of(flow=TWO, **hazard):
    return {
        "headline": "harrell_c_centre_stratified",
        "harrell_c_centre_stratified": {"estimate": 0.66, "low": 0.6, "high": 0.72},
        "flow": flow,
        "hazard_ratio_per_sd": {"estimate": 1.5, "note": NOTE, **hazard},
        "added_value": {"note": f"{NOTE} The change of C is cross-fitted.", "delta_harrell_c": {}},
    }


def permutation_of(rounds, p, repeats=1):
    return {
        "permutations": rounds,
        "p_value": p,
        "repeats": repeats,
        "statistic": STATISTIC,
        "observed": 0.641,
        "null": [0.5, 0.52, 0.49],
        "note": NOTE,
    }


def context(metrics=None, permutation=None, score_type="oof", origin="trained"):
    return chance_context(
        metrics or metrics_of(), permutation or {}, score_type=score_type, origin=origin
    )


@pytest.mark.parametrize(("rounds", "few"), [(0, True), (19, True), (98, True), (99, False)])
def test_under_99_permutations_are_too_few_to_say(rounds, few):
    p = 1 / (rounds + 1) if rounds else None
    permutation = permutation_of(rounds, p) | {"added_value": {"p_value": p}}
    said = " ".join(summary(metrics_of(), permutation, score_type="oof", centres=2))
    assert ("too few to say" in said) == few
    assert "nothing is shown" not in said
    assert "chance is not excluded" not in said
    assert context(permutation=permutation)["few_permutations"] == few


def test_of_a_cross_validated_score_of_several_centres_only_the_permutation_test_is_a_test():
    assert context(metrics_of(wald_p=None))["which_test"] == (
        "Only the permutation test is a test of this score."
    )
    assert context(metrics_of(ONE, wald_p=0.01))["which_test"].startswith("The permutation test")


@pytest.mark.parametrize(
    ("score_type", "origin", "condition"),
    [
        ("locked", "predicted", False),
        ("external", "imported", True),
    ],
)
def test_of_a_score_that_was_not_trained_here_the_wald_test_is_the_test(
    score_type, origin, condition
):
    found = context(metrics_of(wald_p=0.004), score_type=score_type, origin=origin)
    assert found["which_test"].startswith("The Wald test of the hazard ratio is the test")
    assert "p = 0.004" in found["which_test"]
    assert ("if the score learned from none" in found["which_test"]) == condition
    assert found["chance_value"] == "p = 0.004"


def test_a_score_that_learned_from_these_outcomes_has_no_test():
    found = context(metrics_of(wald_p=1e-9), score_type="insample", origin="imported")
    assert "no test" in found["which_test"]
    assert found["chance_value"] == "no test"


def test_the_histogram_is_of_the_printed_statistic_and_its_line_is_the_observed_value():
    found = context(permutation=permutation_of(199, 0.005, repeats=3))
    assert "observed 0.641" in found["permutation_svg"]
    assert STATISTIC in found["permutation_svg"].replace("&#x27;", "'").replace("&#39;", "'")
    caption = found["null_caption"]
    assert "on 3 partitions" in caption
    assert "the C to quote, 0.660" in caption
    assert "around 0.5" in caption
    assert "Mean here: 0.503." in caption


def test_the_caveat_stands_once():
    found = context()
    assert found["caveat"] == NOTE
    assert found["added_note"] == "The change of C is cross-fitted."
