"""metrics.json is what its types say: no section is missing, none is unknown."""

from __future__ import annotations

import types
import typing

import pytest
from support.score_study import write_score_study

from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.metrics import Estimated, Metrics, Seeds
from pathoml.evaluation.sections import metrics


def misfits(value: object, kind: typing.Any, path: str = "") -> list[str]:
    """Return where a value is not what a type says: a path, and what was found there."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is typing.Any:
        return []
    if origin in (typing.Union, types.UnionType):
        tried = [misfits(value, one, path) for one in arguments]
        return min(tried, key=len)
    if origin is list:
        if not isinstance(value, list):
            return [f"{path}: {type(value).__name__}"]
        return [
            m for n, one in enumerate(value) for m in misfits(one, arguments[0], f"{path}[{n}]")
        ]
    if origin is dict:
        if not isinstance(value, dict):
            return [f"{path}: {type(value).__name__}"]
        return [
            m for key, one in value.items() for m in misfits(one, arguments[1], f"{path}.{key}")
        ]
    if typing.is_typeddict(kind):
        if not isinstance(value, dict):
            return [f"{path}: {type(value).__name__}"]
        hints = typing.get_type_hints(kind, include_extras=True)
        optional = {k for k, v in hints.items() if typing.get_origin(v) is typing.NotRequired}
        known = typing.get_type_hints(kind)
        found = [f"{path}.{key}: not known" for key in value.keys() - known.keys()]
        found += [f"{path}.{key}: missing" for key in known.keys() - optional - value.keys()]
        for key in value.keys() & known.keys():
            found += misfits(value[key], known[key], f"{path}.{key}")
        return found
    allowed = (int, float) if kind is float else type(None) if kind is None else kind
    fits = isinstance(value, allowed) and (kind is bool or not isinstance(value, bool))
    return [] if fits else [f"{path}: {value!r}"]


STUDIES = {
    "whole": {},
    "one centre, small": {"n": 24, "centres": 1},
    "without covariates": {"cohort": {"covariates": [], "treatment": None}},
}


@pytest.mark.parametrize("sections", STUDIES.values(), ids=STUDIES.keys())
def test_every_section_of_a_real_file_is_as_its_type_says(tmp_path, sections):
    quick = {"permutations": 0, "bootstraps": 200}
    study = write_score_study(tmp_path, significance=quick, **sections)
    assert misfits(metrics(read_evidence(study)), Metrics) == []


@pytest.mark.parametrize(
    ("value", "kind", "found"),
    [
        ({"harrell_c": [0.6], "harrell_c_sd": None}, Seeds, [".score_sd: missing"]),
        (
            {"harrell_c": [], "harrell_c_sd": 1, "score_sd": 0.1, "sd": 2},
            Seeds,
            [".sd: not known"],
        ),
        ({"harrell_c": ["0.6"], "harrell_c_sd": 0, "score_sd": 0}, Seeds, [".harrell_c[0]: '0.6'"]),
        (
            {"estimate": 1.0, "low": None, "high": None, "n": True, "events": 1},
            Estimated,
            [".n: True"],
        ),
    ],
)
def test_what_does_not_fit_is_found(value, kind, found):
    assert misfits(value, kind) == found
