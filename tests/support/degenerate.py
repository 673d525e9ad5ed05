"""Cohorts and scores of which little can be estimated: what a test walks metrics.json for."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import yaml
from support.score_study import SCORES, write_csv, write_run, write_score_study

from pathoml.config import Study, load_study
from pathoml.store.files import write_json
from pathoml.study.cohort import read_cohort
from pathoml.types import Array, Json

QUICK = {"permutations": 0, "bootstraps": 200}


def rewrite(folder: Path, change: Callable[[list[dict[str, str]]], None]) -> None:
    """Change the rows of patients.csv."""
    path = folder / "patients.csv"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    change(rows)
    write_csv(path, " ".join(rows[0]), [row.values() for row in rows])


def rescored(study: Study, score: Callable[[Array, Array], Array]) -> None:
    """Write scores.csv anew: a function of follow-up and a normal draw, (B,) each."""
    cohort = read_cohort(study)
    draw = np.random.default_rng(4).normal(size=len(cohort.patients))
    values = score(cohort.time_months, draw)
    write_run(study, dict(zip(cohort.patient_ids, values.tolist())))


def as_imported(study: Study, column: str, scale: float = 1.0) -> None:
    """Turn the run into one of scores from elsewhere, in a column of this name and another unit."""
    path = study.run_folder / "scores.csv"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row |= {"score_type": "external", "log_risk": repr(scale * float(row["log_risk"]))}
    write_csv(path, SCORES, [row.values() for row in rows])
    done = {"import": {"hash": "x", "inputs": {"file": "s.csv", "sha256": "ab", "column": column}}}
    write_json(study.run_folder / "provenance.json", {"steps": done})


def one_group(study: Study) -> None:
    """Call every score high."""
    path = study.run_folder / "scores.csv"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    write_csv(path, SCORES, [(row | {"score_group": "high"}).values() for row in rows])


def set_column(name: str, value: Callable[[int, dict[str, str]], object]):
    def change(rows: list[dict[str, str]]) -> None:
        for k, row in enumerate(rows):
            row[name] = str(value(k, row))

    return change


def degenerate_study(folder: Path, name: str) -> Study:
    """Return one of CASES as a study with scores."""
    options, change, score = CASES[name]
    drawn = {key: options[key] for key in ("n", "centres") if key in options}
    sections = {key: value for key, value in options.items() if key not in drawn}
    write_score_study(folder, **{"n": 100, "seed": 3, "significance": QUICK} | drawn)
    if change:
        rewrite(folder, change)
    path = folder / "study.yaml"
    path.write_text(
        yaml.safe_dump(yaml.safe_load(path.read_text(encoding="utf-8")) | sections),
        encoding="utf-8",
    )
    study = load_study(folder)
    rescored(study, score or (lambda _, draw: draw))
    return study


FEW_EVENTS = {"splits": {"folds": 2, "repeats": 2}}
CASES: dict[str, tuple[Json, Callable | None, Callable | None]] = {
    # what stands in study.yaml, what is changed in patients.csv, and the score
    "constant": ({}, None, lambda _, draw: 0 * draw + 1.5),
    "binary": ({}, None, lambda _, draw: (draw > 0.3).astype(float)),
    "binary, one patient alone": ({}, None, lambda _, draw: (draw == draw.max()).astype(float)),
    "tied": ({}, None, lambda _, draw: np.round(draw)),
    "constant but for the last bit": ({}, None, lambda _, draw: 1 + 1e-15 * (draw > 0)),
    "SD of 1e-12": ({}, None, lambda _, draw: 1e-12 * draw),
    "SD of 1e12": ({}, None, lambda _, draw: 1e12 * draw),
    "perfect order": ({}, None, lambda time, _: -time),
    "perfectly wrong order": ({}, None, lambda time, _: time),
    "single centre": ({"centres": 1}, None, None),
    "a centre for each": ({}, set_column("centre", lambda k, _: f"H{k}"), None),
    "the centre is the score": (
        {},
        set_column("centre", lambda k, _: f"H{k % 2}"),
        lambda _, draw: np.arange(len(draw)) % 2.0,
    ),
    "all events": ({}, set_column("pfs_event", lambda *_: 1), None),
    "nearly all censored": (
        FEW_EVENTS,
        set_column("pfs_event", lambda k, _: int(k % 33 == 0)),
        None,
    ),
    "two events, and competing ones": (
        FEW_EVENTS,
        set_column("pfs_event", lambda k, _: 1 if k in (5, 60) else 2 * (k % 20 > 0)),
        None,
    ),
    "the last two have the events": (
        FEW_EVENTS,
        lambda rows: [
            row.update(pfs_event=int(k < 2))
            for k, row in enumerate(sorted(rows, key=lambda r: -float(r["pfs_months"])))
        ],
        None,
    ),
    "everybody at one time": ({}, set_column("pfs_months", lambda *_: 12), None),
    "all followed for less than a horizon": (
        {"evaluate": {"horizons_months": [600.0]}},
        None,
        None,
    ),
    "no event before a horizon": ({"evaluate": {"horizons_months": [0.01, 12.0]}}, None, None),
    "n = 12": ({"n": 12, "centres": 1}, None, None),
    "n = 12, two centres": ({"n": 12, "centres": 2}, None, None),
    "n = 10": ({"n": 10, "centres": 1, "cohort": {"covariates": ["age"]}}, None, None),
    "nobody in a subgroup": ({"evaluate": {"subgroups": ["age > 150", "age < 150"]}}, None, None),
    "one in a subgroup": (
        {"evaluate": {"subgroups": ["only == 1"]}},
        set_column("only", lambda k, _: int(k == 4)),
        None,
    ),
    "everybody is treated": ({}, set_column("systemic", lambda *_: 1), None),
    "one is treated": ({}, set_column("systemic", lambda k, _: int(k == 3)), None),
    "treatment unknown": ({}, set_column("systemic", lambda *_: ""), None),
    "covariates are constant": (
        {"cohort": {"covariates": ["age"]}},
        set_column("age", lambda *_: 60),
        None,
    ),
    "covariates are missing": (
        {"cohort": {"covariates": ["age", "subtype"]}},
        lambda rows: [row.update(age="", subtype="") for row in rows],
        None,
    ),
    "a covariate stands there twice": (
        {"cohort": {"covariates": ["age", "age2"]}},
        set_column("age2", lambda _, row: row["age"]),
        None,
    ),
}


def numbers_without_meaning(node: object, path: str = "") -> Iterator[str]:
    """Yield the paths of numbers that are not finite, of intervals that have no width or do not
    hold their estimate, of estimates that are missing without a reason, and of reasons that call a
    covariate by the place of its column.
    """
    if isinstance(node, dict):
        if "estimate" in node:
            yield from _faults(node, path)
        for key, value in node.items():
            yield from numbers_without_meaning(value, f"{path}.{key}".lstrip("."))
    elif isinstance(node, list):
        for k, value in enumerate(node, 1):
            yield from numbers_without_meaning(value, f"{path}.{k}")
    elif isinstance(node, str) and re.search(r"\bcolumn \d", node):
        yield f"{path} does not name the covariate: {node}"
    elif isinstance(node, float) and not math.isfinite(node):
        yield f"{path} is {node}"


def _faults(node: Json, path: str) -> Iterator[str]:
    estimate, low, high = (node[key] for key in ("estimate", "low", "high"))
    if estimate is None:
        if not str(node.get("note", "")).startswith("not estimable: "):
            yield f"{path} is missing without a reason"
        if low is not None or high is not None:
            yield f"{path} has an interval and no estimate"
    elif low is not None and high is not None:
        if not low < high:
            yield f"{path} has an interval without width: {low} to {high}"
        elif not low - 1e-9 <= estimate <= high + 1e-9 and "harrell_c" not in path:
            yield f"{path} = {estimate} lies outside {low} to {high}"
        if max(abs(v) for v in (estimate, low, high)) > 1e9:
            yield f"{path} = {estimate} ({low} to {high}) is beyond what can be estimated"
