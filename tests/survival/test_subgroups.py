"""What a subgroup is, as study.yaml says it."""

from __future__ import annotations

import pytest

from pathoml.errors import CohortError
from pathoml.survival.subgroups import membership, parse_expression


@pytest.mark.parametrize(
    "text", ["age 60", "age = 60", "age <= 60 <= 70", "60", "", "subtype < LMS"]
)
def test_an_expression_that_does_not_state_one_comparison_is_refused(text):
    with pytest.raises(CohortError, match="Subgroup"):
        parse_expression(text)


def test_text_in_a_column_that_is_compared_with_a_number_is_refused():
    with pytest.raises(CohortError, match="holds 'old', which is not a number"):
        membership("age <= 60", {"age": [50.0, "old"]})
