"""A run of locked scores, with the bundle that foretold them."""

from __future__ import annotations

import csv
import hashlib
import json
import math

from support.score_study import write_csv


def lock(study, log_hazard_ratio, monthly_hazard):
    """Turn the run into what `predict` leaves: locked scores alone, and a bundle that foretells a
    constant hazard.
    """
    bundle = study.folder / "bundles" / "main" / "bundle.json"
    bundle.parent.mkdir(parents=True)
    months = [float(m) for m in range(1, 121)]
    survival = [math.exp(-monthly_hazard * m) for m in months]
    content = {
        "baseline_survival": {
            "times_months": months,
            "survival": survival,
            "log_hazard_ratio_per_sd": log_hazard_ratio,
        }
    }
    bundle.write_text(json.dumps(content), encoding="utf-8")
    made_by = hashlib.sha256(bundle.read_bytes()).hexdigest()
    path = study.run_folder / "scores.csv"
    with path.open(encoding="utf-8") as file:
        rows = [
            {**row, "fold": "", "score_type": "locked", "splits_sha256": made_by}
            for row in csv.DictReader(file)
        ]
    write_csv(path, " ".join(rows[0]), [row.values() for row in rows])
    for name in ("baselines.csv", "splits.json"):
        (study.run_folder / name).unlink()
    predicted = {"recipe_sha256": "0" * 64, "inputs": {"bundle": made_by}}
    (study.run_folder / "provenance.json").write_text(json.dumps({"steps": {"predict": predicted}}))
