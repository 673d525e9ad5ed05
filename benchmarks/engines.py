"""Embedding by several processes and by Ray, against one process: `python benchmarks/engines.py FOLDER`.

The demo's slides are drawn once into FOLDER. Each way embeds all of them; ways take turns, medians of ROUNDS rounds; one thread computes
in each process, so that two processes have twice the cores. Seconds are those of the whole command, its start included.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from pathoml.synthetic.cohort import write_cohort

ROUNDS = 3
ONE = ["compute.threads=1", "compute.workers=1", "compute.encoders=1"]
TWO = ["compute.threads=1", "compute.workers=2", "compute.encoders=2"]
WAYS = {"one process": ONE, "two processes": TWO, "ray, two cores": [*TWO, "compute.engine=ray"]}


def seconds(study: Path, settings: list[str]) -> float:
    """Return the wall time of embedding the whole study afresh."""
    shutil.rmtree(study / "embeddings", ignore_errors=True)
    overrides = [part for setting in settings for part in ("--set", setting)]
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "pathoml", "embed", str(study), *overrides], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=60)
    args = parser.parse_args()
    study = args.folder / "study"
    if not (study / "study.yaml").exists():
        write_cohort(study, patients=args.patients, seed=1)
        subprocess.run([sys.executable, "-m", "pathoml", "tile", str(study)], check=True, stdout=subprocess.DEVNULL)
    measured: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(ROUNDS):
        for way, settings in WAYS.items():
            measured[way].append(seconds(study, settings))
            print(f"round {number + 1}, {way}: {measured[way][-1]:.1f} s", flush=True)
    median = {way: statistics.median(values) for way, values in measured.items()}
    print(f"two processes: {median['one process'] / median['two processes']:.2f} times the rate of one")
    print(f"ray: {median['ray, two cores'] / median['two processes']:.2f} times the seconds of two local processes")


if __name__ == "__main__":
    main()
