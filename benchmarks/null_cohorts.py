"""Level of the permutation test: how often it rejects on cohorts without any effect, with the Wald
test beside it.

    python benchmarks/null_cohorts.py --cohorts 400 --stratify-by event
    python benchmarks/null_cohorts.py --cohorts 100 --stratify-by event --effect 1.2  # power

The cohorts are those of tests/support/null_cohorts.py; cohort i is drawn with seed i. Prints one
line a cohort (with --lines) and the summary.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.null_cohorts import LARGE, SMALL, one_cohort

LEVEL = 0.05


def share_text(p_values: np.ndarray) -> str:
    """Return the share of rejections at 5 % with its standard error."""
    share = float((p_values <= LEVEL).mean())
    return f"{share:.3f} (SE {np.sqrt(share * (1 - share) / len(p_values)):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cohorts", type=int, default=400)
    parser.add_argument("--first", type=int, default=0, help="seed of the first cohort")
    parser.add_argument("--permutations", type=int, default=39)
    parser.add_argument("--stratify-by", default="event", choices=["event", "centre_and_event"])
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--effect", type=float, default=0.0)
    parser.add_argument("--repeats", type=int, default=1, help="partitions")
    parser.add_argument("--stain", type=float, default=0.7, help="SD of a centre's shift")
    parser.add_argument("--patients", type=int, default=80)
    parser.add_argument("--lines", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    about = {
        "permutations": args.permutations,
        "size": LARGE if args.large else SMALL,
        "repeats": args.repeats,
        "stain": args.stain,
        "patients": args.patients,
    }
    # what is loaded once is not the cost of a model
    one_cohort(10**6, 0.0, args.stratify_by, **{**about, "permutations": 0})
    started = time.process_time()
    found = []
    for seed in range(args.first, args.first + args.cohorts):
        found.append(one_cohort(seed, args.effect, args.stratify_by, **about))
        if args.lines:
            print(seed, found[-1], flush=True)
    seconds = time.process_time() - started

    def of(name: str) -> np.ndarray:
        return np.array([getattr(one, name) for one in found])

    print(
        f"{args.cohorts} cohorts of {args.patients}, {args.repeats} partitions by"
        f" {args.stratify_by}, stain {args.stain} SD, effect {args.effect},"
        f" {args.permutations} permutations"
    )
    if args.permutations:
        print(
            f"rejected at 5 %: permutation C {share_text(of('p_of_c'))}, permutation gain"
            f" {share_text(of('p_of_gain'))}, Wald {share_text(of('wald_p'))}; mean of the null"
            f" {of('null_c').mean():.3f}"
        )
    c = np.array([one.c.estimate for one in found])
    holds = np.mean([one.c.low <= 0.5 <= one.c.high for one in found])
    width = np.mean([(one.c.high - one.c.low) / 2 for one in found])
    print(
        f"C over pairs of one fold and centre {c.mean():.3f} (SD {c.std():.3f}), half-width"
        f" {width:.3f}, holds 0.5 in {100 * holds:.1f} %; pairs across folds within centres"
        f" {of('across_folds_c').mean():.3f}, pooled {of('pooled_c').mean():.3f}"
        f" (SD {of('pooled_c').std():.3f})"
    )
    models = args.cohorts * (args.permutations + 1) * 5 * args.repeats
    print(
        f"{models} models in {seconds:.0f} CPU s: {1e3 * seconds / models:.2f} ms a model, tests"
        " and statistics included"
    )


if __name__ == "__main__":
    main()
