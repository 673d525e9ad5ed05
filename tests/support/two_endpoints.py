"""A study with progression and overall survival, each with a planted signal of its own in other
tiles.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from support.learning import DIM, planted_cohort, write_study

from pathoml.config import Study, load_study

OS = "overall survival"
ENDPOINT = "{name: overall survival, time_zero: ablation, time: os_months, event: died}"
BESIDE = f"secondary_endpoints:\n- {ENDPOINT}\n"
QUICK = (
    "train.epochs=4",
    "train.seeds=1",
    "train.nested=false",
    "splits.repeats=2",
    "significance.permutations=3",
    "significance.bootstraps=0",
)


def two_endpoint_study(
    folder: Path,
    *,
    patients: int = 30,
    without_os: Collection[str] = (),
    without_pfs: Collection[str] = (),
    deaths: Sequence[str] | None = None,
    yaml: str = BESIDE,
    settings: Sequence[str] = QUICK,
) -> Study:
    """Write a study whose slides are embedded, with columns os_months and died.

    Args:
        without_os: patients whose cells of overall survival are empty.
        without_pfs: patients whose cells of progression are empty.
        deaths: who died; None: as drawn.
        yaml: what is added to study.yaml.
        settings: as after --set.
    """
    rng = np.random.default_rng(7)
    cohort, bags, _ = planted_cohort(patients)
    share = rng.uniform(0.05, 0.95, patients)
    direction = rng.normal(size=DIM)
    time = rng.exponential(np.exp(-4 * (share - 0.5))) * 30 + 0.1
    censored = rng.uniform(10, 90, patients)
    marked = [
        replace(
            bag,
            features=(bag.features + np.outer(rng.random(len(bag.features)) < s, direction)).astype(
                np.float16
            ),
        )
        for bag, s in zip(bags, share)
    ]
    write_study(folder, cohort, marked)
    path = folder / "patients.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    lines = [f"{header},os_months,died"]
    for k, row in enumerate(rows):
        who, centre, *outcome, age = row.split(",")
        outcome = ["", ""] if who in without_pfs else outcome
        died = time[k] <= censored[k] if deaths is None else who in deaths
        own = ["", ""] if who in without_os else [f"{min(time[k], censored[k]):.3f}", int(died)]
        lines.append(",".join(map(str, [who, centre, *outcome, age, *own])))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with (folder / "study.yaml").open("a", encoding="utf-8") as file:
        file.write(yaml)
    return load_study(folder, list(settings))


def with_os_as_primary(study: Study, run: str) -> Study:
    """Return the same study with overall survival as its only endpoint, on the folds of the run."""
    [endpoint] = study.config.secondary_endpoints
    splits = study.config.splits.model_copy(
        update={"file": str(Path("runs") / study.config.run / "splits.json")}
    )
    update = {"endpoint": endpoint, "secondary_endpoints": (), "splits": splits, "run": run}
    return study.model_copy(update={"config": study.config.model_copy(update=update)})
