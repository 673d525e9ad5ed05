"""Scores of patients from whom the models learned: their concordance is no validation, and stands
nowhere.
"""

from __future__ import annotations

import re
from typing import Any

from pathoml.survival.not_estimable import not_estimable
from pathoml.types import Json

INSAMPLE = "insample"  # score type
CONCORDANCES = re.compile(r"^(delta_)?(harrell_c|uno_c)")
NOT_OF_THE_SCORE = re.compile(r"^(clinical|ridge_cox|vectors_)")
WHY = "the models learned from these patients, which shows nothing of others"


def without_concordance(content: Json) -> Json:
    """Return metrics of in-sample scores without any C of them: a number is None, an estimate says
    why it is none.

    >>> without_concordance({"n": 9, "harrell_c_fold_mean": 0.9, "clinical": {"harrell_c": 0.6}})
    {'n': 9, 'harrell_c_fold_mean': None, 'clinical': {'harrell_c': 0.6}}
    """
    return {
        key: _void(value) if CONCORDANCES.match(key) else _below(key, value)
        for key, value in content.items()
    }


def in_sample_alarm(content: Json) -> Json:
    """Return the alarm that stands before everything else."""
    return {
        "name": "in_sample",
        "message": (
            f"The models learned from patients among these {content['n']}: no number of this page"
            " validates them."
        ),
    }


def _below(key: str, value: Any) -> Any:
    if NOT_OF_THE_SCORE.match(key):
        return value
    if isinstance(value, dict):
        return without_concordance(value)
    if isinstance(value, list):
        return [without_concordance(one) if isinstance(one, dict) else one for one in value]
    return value


def _void(value: Any) -> Any:
    if isinstance(value, dict):
        if "estimate" in value:
            return {**dict.fromkeys(value), **not_estimable(WHY)}
        return {name: _void(one) for name, one in value.items()}
    return None if isinstance(value, int | float) else value
