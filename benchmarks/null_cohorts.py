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
    parser.add_argument("--lines", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    size = LARGE if args.large else SMALL
    one_cohort(
        10**6, 0.0, args.stratify_by, 1, size
    )  # what is loaded once is not the cost of a model
    started = time.process_time()
    rows = []
    for seed in range(args.first, args.first + args.cohorts):
        rows.append(one_cohort(seed, args.effect, args.stratify_by, args.permutations, size))
        if args.lines:
            print(seed, *(f"{v:.6g}" for v in rows[-1]), flush=True)
    seconds = time.process_time() - started
    p_c, p_gain, wald, pooled, within, null = np.array(rows).T
    models = args.cohorts * (args.permutations + 1) * 5
    print(
        f"{args.cohorts} cohorts, folds by {args.stratify_by}, effect {args.effect},"
        f" {args.permutations} permutations"
    )
    print(
        f"rejected at 5 %: permutation C {share_text(p_c)}, permutation gain {share_text(p_gain)},"
        f" Wald {share_text(wald)}"
    )
    print(
        f"pooled C {pooled.mean():.3f} (SD {pooled.std():.3f}), within centres {within.mean():.3f},"
        f" mean of the null {null.mean():.3f}"
    )
    print(
        f"{models} models in {seconds:.0f} CPU s: {1e3 * seconds / models:.2f} ms a model, tests"
        " and statistics included"
    )


if __name__ == "__main__":
    main()
