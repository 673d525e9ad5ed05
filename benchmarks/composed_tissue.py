"""Scores and maps on composed cohorts of real sarcoma tissue: C against the oracle and ridge Cox,
map AUC against the planted tissue.

    python3 $PATHOML_SHARED/tools/compose_cohort.py COHORT --patients 60 --centres 4 --seed 11
    python benchmarks/composed_tissue.py COHORT --driver viable          # three split seeds
    python benchmarks/composed_tissue.py COHORT --driver viable --scheme leave_one_centre_out

Runs the verbs of the command line in the cohort's folder (a study.yaml is written there) and prints
one row a split seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pathoml.cli import embed, evaluate, explain, tile, train
from pathoml.cli.console import Console
from pathoml.cli.evaluate import interval_text
from pathoml.config import load_study
from pathoml.store.files import read_json
from pathoml.store.maps import read_attention
from pathoml.store.tables import read_table
from pathoml.survival.concordance import harrell_c, stratified_harrell_c
from pathoml.synthetic.truth import map_agreement

CLASSES = {"non_tumour": 1, "non_viable": 2, "viable": 3}
STUDY = """endpoint:
  {name: invented progression, time_zero: invented, time: pfs_months, event: pfs_event}
cohort: {covariates: [age, n_lesions]}
tiles: {tile_px: 224, mpp: 1.0}
encoder: efficientnet_lite0
significance: {permutations: 0}
"""


def oracle(folder: Path) -> tuple[float, float]:
    """Return C and centre-stratified C of the log-risk that the outcomes were drawn from."""
    risk = {
        row["patient_id"]: float(row["log_risk"]) for row in read_table(folder / "truth.csv").rows
    }
    rows = read_table(folder / "patients.csv").rows
    score = [risk[r["patient_id"]] for r in rows]
    outcome = [float(r["pfs_months"]) for r in rows], [r["pfs_event"] == "1" for r in rows]
    return harrell_c(score, *outcome), stratified_harrell_c(
        score, *outcome, stratum=[r["centre"] for r in rows]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--driver", choices=[*CLASSES, "none"], required=True)
    parser.add_argument("--scheme", default="stratified")
    parser.add_argument("--split-seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    args = parser.parse_args()
    if not (args.cohort / "study.yaml").exists():
        (args.cohort / "study.yaml").write_text(STUDY)
    console, rows = Console(), []
    for seed in args.split_seeds:
        run = f"{args.scheme}-{args.repeats}-{seed}"
        settings = [
            f"splits.scheme={args.scheme}",
            f"splits.repeats={args.repeats}",
            f"splits.seed={seed}",
            f"run={run}",
            *args.settings,
        ]
        study = load_study(args.cohort, settings)
        for step in (tile, embed, train, evaluate, explain):
            step.run(study, console)
        metrics = read_json(study.run_folder / "metrics.json")
        auc = None
        if args.driver != "none":
            maps = [
                read_attention(path)
                for path in sorted((study.run_folder / "attention").glob("*.h5"))
            ]
            auc = map_agreement(
                maps, args.cohort / "truth", CLASSES[args.driver], n_classes=len(CLASSES)
            )
        rows.append((seed, metrics, auc))
    best, best_within = oracle(args.cohort)
    print(
        f"\n{args.cohort.name}, {args.scheme}, driver {args.driver}: oracle C {best:.3f}, within"
        f" centres {best_within:.3f}"
    )
    header = (
        "split seed",
        "C (95 %)",
        "within centres (95 %)",
        "ridge Cox",
        "ridge within",
        "AUC contribution",
        "a slide",
        "AUC attention",
    )
    table = []
    for seed, metrics, auc in rows:
        ridge = metrics["ridge_cox"]
        values = [
            ridge["harrell_c"],
            ridge["harrell_c_centre_stratified"],
        ]
        areas = (
            [f"{v:.3f}" for v in (auc.contribution, auc.contribution_by_slide, auc.attention)]
            if auc
            else ["-"] * 3
        )
        table.append(
            (
                seed,
                interval_text(metrics["harrell_c"]),
                interval_text(metrics["harrell_c_centre_stratified"]),
                *(f"{v['estimate']:.3f}" for v in values),
                *areas,
            )
        )
    console.table(table, header)
    mean_c = np.mean([m["harrell_c"]["estimate"] for _, m, _ in rows])
    mean_auc = f", AUC {np.mean([a.contribution for _, _, a in rows]):.3f}" if rows[0][2] else ""
    print(f"mean over split seeds: C {mean_c:.3f}{mean_auc}")


if __name__ == "__main__":
    main()
