"""Who trains and who is scored: patients, never slides, are divided; a patient is on one side of a
split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pathoml.config import SplitsConfig, changed_section
from pathoml.errors import CohortError, StoreError
from pathoml.store.files import read_json, write_json
from pathoml.types import Cohort, Floats, Fold, Ints, Split

REPEAT_STRIDE = 1000  # seed of repeat r = seed * REPEAT_STRIDE + r
# random costs that vary centre-preserving partitions between repeats without unbalancing them
TIE_BREAK = 1e-3


def make_splits(
    cohort: Cohort, config: SplitsConfig | None = None, **changed: object
) -> tuple[Split, ...]:
    """Return one partition a repeat (one in all for leave_one_centre_out, which knows only one);
    in which order the patients stand decides nothing.

    Args:
        config: the section `splits` of study.yaml; its defaults if not given.
        changed: keys of that section with other values, such as folds=5, repeats=10, seed=1.

    Raises:
        ConfigError: an unknown key, or a value out of bounds.
        CohortError: too few patients, events or centres for the scheme.
    """
    config = changed_section(config or SplitsConfig(), changed)
    cohort = replace(cohort, patients=tuple(sorted(cohort.patients, key=lambda p: p.patient_id)))
    if config.scheme == "leave_one_centre_out":
        centres, centre = np.unique(cohort.centre, return_inverse=True)
        if len(centres) < 2:
            raise CohortError(
                "splits.scheme is leave_one_centre_out, but there is one centre only. Use"
                " stratified."
            )
        return (_split("repeat-1", cohort, centre, [str(c) for c in centres], config.seed),)
    splits = []
    for repeat in range(1, config.repeats + 1):
        seed = config.seed * REPEAT_STRIDE + repeat
        rng = np.random.default_rng(seed)
        if config.scheme == "stratified":
            assignment = _stratified(
                cohort, config.folds, rng, by_centre=config.stratify_by == "centre_and_event"
            )
        else:
            assignment = _centre_preserving(cohort, config.folds, rng)
        splits.append(
            _split(
                f"repeat-{repeat}",
                cohort,
                assignment,
                [str(f + 1) for f in range(config.folds)],
                seed,
            )
        )
    return tuple(splits)


def _stratified(cohort: Cohort, folds: int, rng: np.random.Generator, *, by_centre: bool) -> Ints:
    """Deal patients to folds in turn, first those with an event, in random order; or so within each
    centre, one after the other.

    Which of the two is better is not obvious: docs/decisions/0004.
    """
    events = int(cohort.event.sum())
    if events < folds or len(cohort.patients) < 2 * folds:
        raise CohortError(
            f"{len(cohort.patients)} patients with {events} events are too few for {folds} folds: "
            "each needs an event and two patients. Lower splits.folds, or wait for more follow-up."
        )
    order = rng.permutation(len(cohort.patients))
    if by_centre:
        order = order[np.argsort(cohort.centre[order], kind="stable")]
    order = order[np.argsort(~cohort.event[order], kind="stable")]
    assignment = np.empty(len(order), np.int64)
    assignment[order] = rng.permutation(folds)[np.arange(len(order)) % folds]
    return assignment


def _centre_preserving(cohort: Cohort, folds: int, rng: np.random.Generator) -> Ints:
    """Keep each centre in one fold, with events and patients as even as whole centres allow (Howard
    et al., Nat Commun 2021).

    A mixed-integer program: x[c, f] = 1 puts centre c into fold f; minimised is the sum over folds
    of the distance of events and patients from an even share.
    """
    from scipy.optimize import LinearConstraint, milp

    centres, centre = np.unique(cohort.centre, return_inverse=True)
    n_centres = len(centres)
    if n_centres < folds:
        raise CohortError(
            f"splits.scheme is centre_preserving with {folds} folds, but there are"
            f" {n_centres} centres. Lower splits.folds."
        )
    loads = np.stack(
        [np.bincount(centre, cohort.event, n_centres), np.bincount(centre, minlength=n_centres)]
    )  # (2, C)
    n_x, n_slack = n_centres * folds, 2 * folds
    cost = np.concatenate([rng.uniform(0, TIE_BREAK, n_x), np.repeat(1 / loads.sum(1), folds)])
    rows: list[Floats] = []
    lower: list[float] = []
    upper: list[float] = []
    for c in range(n_centres):  # each centre in exactly one fold
        row = np.zeros(n_x + n_slack)
        row[c * folds : (c + 1) * folds] = 1
        rows, lower, upper = [*rows, row], [*lower, 1.0], [*upper, 1.0]
    for f in range(folds):
        row = np.zeros(n_x + n_slack)
        row[f:n_x:folds] = 1
        rows, lower, upper = [*rows, row], [*lower, 1.0], [*upper, np.inf]  # no empty fold
        for k in range(2):
            for sign in (1.0, -1.0):  # slack >= |load - even share|
                row = np.zeros(n_x + n_slack)
                row[f:n_x:folds] = sign * loads[k]
                row[n_x + k * folds + f] = -1
                rows, lower, upper = (
                    [*rows, row],
                    [*lower, -np.inf],
                    [*upper, sign * loads[k].sum() / folds],
                )
    integrality = np.concatenate([np.ones(n_x), np.zeros(n_slack)])
    bounds_upper = np.concatenate([np.ones(n_x), np.full(n_slack, np.inf)])
    solution = milp(
        cost,
        constraints=LinearConstraint(np.array(rows), lower, upper),
        integrality=integrality,
        bounds=(0, bounds_upper),
        options={"time_limit": 20.0},
    )
    if solution.x is None:
        raise CohortError(
            f"No centre-preserving partition of {n_centres} centres into {folds} folds was found"
            f" ({solution.message})."
        )
    return np.asarray(solution.x[:n_x].reshape(n_centres, folds).argmax(1)[centre], dtype=np.int64)


def _split(
    name: str, cohort: Cohort, assignment: Ints, fold_names: Sequence[str], seed: int
) -> Split:
    folds = []
    for f, fold_name in enumerate(fold_names):
        test = tuple(p for p, a in zip(cohort.patient_ids, assignment) if a == f)
        train = tuple(p for p, a in zip(cohort.patient_ids, assignment) if a != f)
        events = int(cohort.event[assignment != f].sum())
        if events == 0:
            raise CohortError(
                f"Without fold {fold_name!r} there is no event to train on. Use another"
                " splits.scheme or fewer folds."
            )
        folds.append(Fold(name=fold_name, train=train, test=test))
    return Split(name=name, folds=tuple(folds), seed=seed)


def check_splits(splits: Sequence[Split], cohort: Cohort) -> None:
    """Raise CohortError unless every patient is tested exactly once a split and never trains the
    model that scores them.
    """
    for split in splits:
        tested = [p for fold in split.folds for p in fold.test]
        if sorted(tested) != sorted(cohort.patient_ids):
            raise CohortError(f"Split {split.name} does not test every patient exactly once.")
        for fold in split.folds:
            both = set(fold.train) & set(fold.test)
            if both:
                raise CohortError(
                    f"Split {split.name}, fold {fold.name}: patient {min(both)} is on both sides."
                )


def write_splits(path: Path, splits: Sequence[Split], scheme: str, **about: Any) -> None:
    """Write splits.json.

    Args:
        scheme: how they were made; "file" where they were made elsewhere.
        about: what else decided them (seed, stratify_by, file), for whoever describes them.
    """
    content = [
        {
            "name": s.name,
            "seed": s.seed,
            "folds": [
                {"name": f.name, "train": list(f.train), "test": list(f.test)} for f in s.folds
            ],
        }
        for s in splits
    ]
    write_json(path, {"scheme": scheme, **about, "splits": content})


def leave_out_centres(splits: Sequence[Split], cohort: Cohort) -> bool:
    """Return whether each fold scores the whole of one centre, and no more."""
    centre = {p.patient_id: p.centre for p in cohort.patients}
    return all(
        len({centre[p] for p in fold.test}) == 1
        and {centre[p] for p in fold.test}.isdisjoint(centre[p] for p in fold.train)
        for split in splits
        for fold in split.folds
    )


def about_splits(config: SplitsConfig) -> dict[str, Any]:
    """Return what splits.json says of how splits were made, beside the splits."""
    if config.file:
        return {"scheme": "file", "file": Path(config.file).name}
    about: dict[str, Any] = {"scheme": config.scheme, "seed": config.seed}
    return about | ({"stratify_by": config.stratify_by} if config.scheme == "stratified" else {})


def read_splits(path: Path) -> tuple[Split, ...]:
    """Read splits.json.

    Raises:
        StoreError: missing, or not of this form.
    """
    try:
        return tuple(
            Split(
                name=str(s["name"]),
                seed=int(s["seed"]),
                folds=tuple(
                    Fold(name=str(f["name"]), train=_ids(f["train"]), test=_ids(f["test"]))
                    for f in s["folds"]
                ),
            )
            for s in read_json(path)["splits"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{path} holds no splits ({type(error).__name__}: {error}). Delete it and run `pathoml"
            " train`."
        ) from error


def _ids(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(patient_id, str) for patient_id in found):
        raise TypeError("a side of a fold is not a list of patient_id")
    return tuple(found)
