"""A study whose patients have dates: columns of days become dates after a day of time zero."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from support.score_study import write_csv, write_run

from pathoml.config import Study, load_study

ZERO = dt.date(1900, 1, 1)


def day(days: float | None) -> str:
    """Return the date that is so many days after time zero, "" for none."""
    known = days is not None and np.isfinite(days)
    return (ZERO + dt.timedelta(days=int(days))).isoformat() if known else ""


def write_dated_study(
    folder: Path,
    *,
    time: Sequence[float],
    code: Sequence[int],
    score: Sequence[float],
    entry: Sequence[float] | None = None,
    begun: Sequence[float | None] | None = None,
    columns: Mapping[str, Sequence[object]] | None = None,
    cohort: Mapping[str, object] | None = None,
    landmark: float = 0.0,
    **sections: object,
) -> Study:
    """Write a study of scores with times in days; `entry` and `begun` are days after time zero."""
    n, given = len(time), dict(columns or {})
    folder.mkdir(parents=True, exist_ok=True)
    table: dict[str, Sequence[object]] = {
        "patient_id": [f"P{k:04d}" for k in range(n)],
        "centre": given.pop("centre", [f"C{k % 3}" for k in range(n)]),
        "days": [f"{t:g}" for t in time],
        "event": [int(c) for c in code],
        "zero": [day(0)] * n,
        **given,
    }
    dates: dict[str, object] = {"time_zero": "zero", "landmark_months": landmark}
    for key, values in (("entry", entry), ("treatment", begun)):
        if values is not None:
            table[f"{key}_on"] = [day(v) for v in values]
            dates[key] = f"{key}_on"
    write_csv(folder / "patients.csv", " ".join(table), zip(*table.values()))
    content = {
        "endpoint": {"name": "PFS", "time_zero": "birth", "time": "days", "event": "event"}
        | {"unit": "days"},
        "cohort": {"without_slides": "keep", **(cohort or {})},
        "dates": dates,
        "significance": {"permutations": 0, "bootstraps": 0},
        **sections,
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    study = load_study(folder)
    write_run(study, dict(zip(table["patient_id"], score)))
    return study
