"""A study with scores and no slides on disk: all that the statistics of `evaluate` need, drawn with
a known effect.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import yaml

from pathoml.config import Study, load_study
from pathoml.store.scores import SEEDS, RepeatTable, write_columns, write_repeats
from pathoml.study.cohort import read_cohort
from pathoml.study.splits import make_splits, read_splits, write_splits
from pathoml.training.baselines import clinical_scores
from pathoml.training.nested import write_nested

SCORES = (
    "patient_id centre log_risk score_sd score_type fold n_repeats repeat_sd n_slides n_tiles "
    "model_sha256 splits_sha256 data_cut score_group"
)


def write_csv(
    path: Path, header: str, rows: Iterable[Iterable[object]], delimiter: str = ","
) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(header.split())
        writer.writerows([["" if v is None else v for v in row] for row in rows])


def write_score_study(
    folder: Path,
    *,
    n: int = 246,
    seed: int = 1,
    centres: int = 6,
    competing: bool = True,
    **sections: object,
) -> Study:
    """Write study.yaml, both tables and runs/main as `train` leaves it; `sections` are sections of
    study.yaml.
    """
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    age, lesions = np.round(rng.normal(58, 13, size=n)), rng.integers(1, 9, size=n)
    subtype = rng.choice(["LMS", "UPS", "DDLPS", "other"], p=[0.35, 0.25, 0.2, 0.2], size=n)
    treated = rng.uniform(size=n) < 1 / (1 + np.exp(0.04 * (age - 58) - 0.3 * (lesions - 4)))
    effect = 0.4 * score + 0.015 * (age - 58) + 0.1 * (lesions - 4) - 0.3 * treated
    progressed, died, left = (
        rng.exponential(16 * np.exp(-effect)),
        rng.exponential(90, size=n),
        rng.uniform(12, 84, size=n),
    )
    time = (
        np.minimum(progressed, left)
        if not competing
        else np.minimum.reduce([progressed, died, left])
    )
    code = np.where(time == left, 0, np.where(time == progressed, 1, 2))
    centre = rng.choice([f"C{k}" for k in range(1, centres + 1)], size=n)
    ids = [f"P{k:04d}" for k in range(n)]
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        [
            ids[k],
            centre[k],
            f"{np.ceil(time[k] * 10) / 10:.1f}",
            code[k],
            None if k % 17 == 3 else int(age[k]),
            lesions[k],
            None if k % 23 == 5 else subtype[k],
            None if k % 41 == 7 else int(treated[k]),
        ]
        for k in rng.permutation(n)
    ]
    write_csv(
        folder / "patients.csv",
        "patient_id centre pfs_months pfs_event age n_lesions subtype systemic",
        rows,
    )
    write_csv(folder / "slides.csv", "slide_id patient_id path", [[f"{p}_1", p, None] for p in ids])
    content = {
        "endpoint": {
            "name": "progression-free survival",
            "time_zero": "first local ablative therapy",
        }
        | {"time": "pfs_months", "event": "pfs_event"},
        "cohort": {"covariates": ["age", "n_lesions", "subtype"], "treatment": "systemic"},
        "splits": {"repeats": 2},
        "evaluate": {
            "subgroups": ["age <= 60", "age <= 60 and n_lesions >= 4", "subtype == 'LMS'"]
        },
        **sections,
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    study = load_study(folder)
    write_run(study, dict(zip(ids, score)))
    return study


def write_run(study: Study, score: dict[str, float]) -> None:
    """Write scores.csv, baselines.csv and splits.json for these scores."""
    run = study.run_folder
    run.mkdir(parents=True, exist_ok=True)
    cohort = read_cohort(study)
    splits = make_splits(cohort, study.config.splits)
    write_splits(run / "splits.json", splits, study.config.splits.scheme)
    fold = {
        p: ";".join(f.name for split in splits for f in split.folds if p in f.test)
        for p in cohort.patient_ids
    }
    values = np.array([score[p] for p in cohort.patient_ids])
    middle = float(np.median(values))
    rows = []
    for k, (p, value) in enumerate(zip(cohort.patients, values)):
        group = "high" if value > middle else "low"
        rows.append(
            [
                p.patient_id,
                p.centre,
                0.6 * value,
                value,
                "oof",
                fold[p.patient_id],
                2,
                0.1,
                1,
                200 + k,
                "ab",
                "cd",
                "",
                group,
            ]
        )
    write_csv(run / "scores.csv", SCORES, rows)
    clinical = clinical_scores(cohort, splits)
    noise = np.random.default_rng(5).normal(size=len(values))
    write_csv(
        run / "baselines.csv",
        "patient_id ridge_cox clinical",
        [
            [p, v + e, None if clinical is None else clinical[k]]
            for k, (p, v, e) in enumerate(zip(cohort.patient_ids, values, noise))
        ],
    )


def write_partitions(study: Study, *, seeds: int = 2, decimals: int = 1) -> None:
    """Write what training leaves of every partition: repeat_scores.csv, seed_scores.csv and
    nested_scores.csv, each score the one of scores.csv with another error, and many ties.
    """
    run, rng = study.run_folder, np.random.default_rng(11)
    with (run / "scores.csv").open(encoding="utf-8") as file:
        rows = {row["patient_id"]: float(row["score_sd"]) for row in csv.DictReader(file)}
    ids = list(rows)
    score = np.array(list(rows.values()))
    splits = read_splits(run / "splits.json")

    def drawn(shape: tuple[int, ...], error: float) -> np.ndarray:
        return np.round(score + rng.normal(0, error, shape), decimals)

    shape = (len(splits), len(ids))
    columns = {"log_risk": 0.5, "ridge_cox": 1.0, "clinical": 2.0}
    columns |= {f"seed {k + 1}": 0.7 for k in range(seeds)}
    folds = [{p: f.name for f in split.folds for p in f.test} for split in splits]
    table = RepeatTable(
        repeats=tuple(split.name for split in splits),
        fold=np.array([[of[p] for p in ids] for of in folds]),
        scores={name: drawn(shape, error) for name, error in columns.items()},
    )
    write_repeats(run / "repeat_scores.csv", ids, table)
    by_seed = {str(k + 1): drawn(shape[1:], 0.5) for k in range(seeds)}
    write_columns(run / SEEDS, ids, by_seed, prefix="seed ")
    names = sorted({f.name for f in splits[0].folds})
    write_nested(run, ids, {name: drawn(shape[1:], 0.5) for name in names})
