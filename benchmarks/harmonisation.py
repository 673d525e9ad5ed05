"""With and without `train.harmonise: centre`, on the same folds: does it help, and when does it
hurt?

    python benchmarks/harmonisation.py made                                  # features made up
    python3 $PATHOML_SHARED/tools/compose_cohort.py COHORT --patients 60 --centres 4 --seed 12 \\
        --disjoint-centres                                                   # real tissue
    python benchmarks/harmonisation.py tissue COHORT [COHORT ...] --driver viable

`made` draws the cohorts of tests/support/hospitals.py: hospitals that differ by their stain, where
harmonising must help, by their tissue, where it must hurt, or by nothing; also many of two
patients each. `tissue` takes
cohorts of composed slides that are tiled and embedded (benchmarks/composed_tissue.py writes their
study.yaml); its runs go to COHORT/runs. C is that of pairs of one fold, and of one fold and centre;
C of all pairs compares scores of different folds too, and is what is lost or won between centres.
Centre share is the part of the score's variance that lies between centres. AUC is that of the
contributions against the planted tissue.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from composed_tissue import CLASSES, oracle
from support.hospitals import Kind, hospitals

from pathoml.cli.console import Console
from pathoml.config import SplitsConfig, TrainConfig, load_study
from pathoml.errors import CohortError
from pathoml.evaluation.leaks import share_between
from pathoml.explanation.contributions import explain_bag, slide_maps
from pathoml.study.splits import make_splits
from pathoml.survival.concordance import harrell_c
from pathoml.survival.fold_concordance import fold_concordance
from pathoml.synthetic.truth import map_agreement
from pathoml.training.run import load_run
from pathoml.training.scoring import FoldScores, folded_scores
from pathoml.training.step import train_study
from pathoml.training.validation import cross_validate
from pathoml.types import Cohort

SCHEMES = ("stratified", "leave_one_centre_out")
WAYS = ("null", "centre")
FEW, MANY = 4, 40  # hospitals of 80 patients
MADE: tuple[tuple[Kind, int], ...] = (
    ("stain", FEW),
    ("biology", FEW),
    ("alike", FEW),
    ("stain", MANY),
    ("alike", MANY),
)
HEADS = ("abmil", "ridge_cox", "mean_extremes")
SMALL = TrainConfig(epochs=25, tiles_per_patient=24, projection=8, hidden=8, seeds=1)
HEADER = (
    "scheme",
    "head",
    "harmonise",
    "C in folds",
    "within centres",
    "of all pairs",
    "centre share",
    "AUC",
)
NO_AUC = float("nan")
Figures = tuple[float, ...]  # C in folds, within centres, of all pairs; centre share; AUC
WITHIN, AUC = 1, 4  # places in it


def figures(folds: list[FoldScores], cohort: Cohort, auc: float = NO_AUC) -> Figures:
    """Return what is compared of one cross-validation."""
    scores = folded_scores(folds)
    outcome = cohort.time_months, cohort.event

    def within(stratum: Any) -> float:
        try:
            return float(fold_concordance(scores, *outcome, stratum=stratum).estimate)
        except CohortError:  # no pair of one centre in one fold
            return NO_AUC

    share = share_between(scores.mean, cohort.centre)["share"]
    return within(None), within(cohort.centre), harrell_c(scores.mean, *outcome), share, auc


def made(kind: Kind, count: int, scheme: str, head: str, way: str, seed: int) -> Figures:
    """Train on made-up features of so many hospitals."""
    cohort, bags = hospitals(kind, seed=seed, count=count)
    splits = make_splits(cohort, SplitsConfig(scheme=scheme, repeats=1, seed=seed))  # type: ignore[arg-type]
    done = cross_validate(
        head, cohort, bags, splits, config=SMALL, device="cpu", seed=seed,
        harmonise=None if way == "null" else way, learning_rate=1e-2,
    )  # fmt: skip
    return figures(list(done.folds), cohort)


def tissue(folder: Path, scheme: str, head: str, way: str, seed: int, driver: str) -> Figures:
    """Train on composed slides, and hold the contributions against the planted tissue."""
    study = load_study(
        folder,
        [
            f"train.harmonise={way}",
            f"train.head={head}",
            "train.nested=false",
            f"splits.scheme={scheme}",
            f"splits.seed={seed}",
            "splits.repeats=1",
            f"run={scheme}-{head}-{way}-{seed}",
        ],
    )
    train_study(study)
    run = load_run(study)
    maps = [
        one
        for position, bag in enumerate(run.bags)
        for one in slide_maps(
            explain_bag(run.stack, run.folds, bag, position=position), bag, score_type="oof"
        )
    ]
    agreed = map_agreement(maps, folder / "truth", CLASSES[driver], n_classes=len(CLASSES))
    return figures(list(run.folds), run.cohort, agreed.contribution)


def table(
    one: Callable[[str, str, str, int], Figures],
    seeds: list[int],
    schemes: Sequence[str] = SCHEMES,
) -> None:
    """Print a row for each scheme, head and way, mean over seeds; and the differences by seed."""
    rows, differences = [], []
    for scheme in schemes:
        for head in HEADS:
            every = {}
            for way in WAYS:
                every[way] = np.array([one(scheme, head, way, seed) for seed in seeds])  # (S, 5)
                mean = every[way].mean(axis=0)
                rows.append((scheme, head, way, *(f"{v:.3f}" for v in mean)))
            gain = every["centre"] - every["null"]
            differences.append(
                f"  {scheme}, {head}: within centres "
                + ", ".join(f"{v:+.3f}" for v in gain[:, WITHIN])
                + ("" if np.isnan(gain[:, AUC]).all() else "; AUC ")
                + ", ".join(f"{v:+.3f}" for v in gain[:, AUC] if not np.isnan(v))
            )
    Console().table(rows, HEADER)
    print("harmonised minus not, by seed:", *differences, sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    of_made = kinds.add_parser("made")
    of_made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    of_tissue = kinds.add_parser("tissue")
    of_tissue.add_argument("cohorts", type=Path, nargs="+")
    of_tissue.add_argument("--driver", choices=list(CLASSES), required=True)
    of_tissue.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    args = parser.parse_args()
    if args.kind == "made":
        for kind, count in MADE:
            print(f"\n{kind}, {count} hospitals; mean over {len(args.seeds)} cohorts")
            schemes = SCHEMES if count == FEW else SCHEMES[:1]
            table(lambda *of, kind=kind, count=count: made(kind, count, *of), args.seeds, schemes)
    else:
        for folder in args.cohorts:
            best, within = oracle(folder)
            print(f"\n{folder.name}: oracle C {best:.3f}, within centres {within:.3f}")
            table(lambda *of, folder=folder: tissue(folder, *of, args.driver), args.seeds)


if __name__ == "__main__":
    main()
