"""The R script of a run is built from names and expressions as people write them, and none of them
becomes code.
"""

from __future__ import annotations

import re

import pytest

from pathoml.errors import CohortError
from pathoml.evaluation.analysis_r import analysis_script, r_string

NASTY = "Alter `bei\" ] OP\\'; stop(1) # @tau@ (Jahre, é)"


def test_the_script_is_ascii_whatever_the_columns_are_called():
    named = {NASTY: "number", "Überleben": "category"}
    assert analysis_script(covariates=named, treatment="é").isascii()


def test_a_column_name_stays_inside_its_string():
    script = analysis_script(covariates={NASTY: "number"})
    assert f"clinical_names <- c({r_string(NASTY)})" in script


def test_every_placeholder_is_filled():
    script = analysis_script()
    assert re.findall(r"@\w+@", script) == []


def test_the_script_says_that_its_p_values_are_anticonservative():
    assert "anticonservative" in analysis_script()


def test_a_script_without_covariates_has_no_clinical_model():
    assert "clinical_names <- c()" in analysis_script()


def test_a_subgroup_becomes_a_comparison_of_an_escaped_column():
    script = analysis_script(subgroups=["age <= 60 and subtype == 'L\"MS'"])
    assert 'holds("age", "<=", 60.0) & holds("subtype", "==", "L\\"MS")' in script


def test_a_tau_of_zero_is_refused():
    with pytest.raises(CohortError, match="expected a positive number of months"):
        analysis_script(tau_months=0.0)
