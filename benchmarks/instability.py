"""What resampled pipelines cost: CPU seconds for 200 of 246 patients, by the slope between few.

    python benchmarks/instability.py [TILES ...]

Each resample is one cross-validation of 5 folds, one initialisation, on a bootstrap sample of the
patients: 5 projections of 1024 features to 64, 5 models of 40 epochs, whole bags scored. One
thread; CPU seconds, since the machine is shared. The summary (Cox models, calibration curves,
percentiles) is timed on 200 scores.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from training import draw

from pathoml.config import SplitsConfig, TrainConfig
from pathoml.evaluation.instability import summarised
from pathoml.evaluation.resamples import ResampledPipeline, Scored
from pathoml.study.splits import make_splits

PATIENTS, DIM, ALL = 246, 1024, 200
FEW = (2, 6)


def resampling(tiles: int) -> None:
    """Print what a resample costs at so many tiles a patient."""
    cohort, bags = draw(PATIENTS, tiles, DIM)
    [split] = make_splits(cohort, SplitsConfig(repeats=1))
    pipeline = ResampledPipeline(
        cohort=cohort,
        bags=bags,
        split=split,
        config=TrainConfig(seeds=1),
        resamples=ALL,
        seed=1,
        device="cpu",
    )
    seconds = {}
    for count in FEW:
        started = time.process_time()
        scores = pipeline.scores(range(count))
        seconds[count] = time.process_time() - started
    each = (seconds[FEW[1]] - seconds[FEW[0]]) / (FEW[1] - FEW[0])
    print(
        f"{PATIENTS} x {tiles} x {DIM}: {each:.2f} CPU s a resample of {pipeline.models_each}"
        f" models, {ALL * each / 60:.1f} CPU minutes for {ALL}, extrapolated from {FEW[1]}",
        flush=True,
    )
    rng, first = np.random.default_rng(1), scores[0]
    again = [
        Scored(score=first.score + rng.normal(size=PATIENTS), is_high=first.is_high)
        for _ in range(ALL)
    ]
    started = time.process_time()
    summarised(cohort, first, again, drawn=list(pipeline.drawn), horizons=(12.0, 24.0, 36.0, 60.0))
    print(f"summary of {ALL}, 4 horizons: {time.process_time() - started:.1f} CPU s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tiles", nargs="*", type=int, default=[500, 1000, 2000])
    torch.set_num_threads(1)
    for tiles in parser.parse_args().tiles:
        resampling(tiles)


if __name__ == "__main__":
    main()
