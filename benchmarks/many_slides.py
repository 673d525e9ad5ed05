"""What a study of 5,000 slides costs when nothing is to do: check, status and run, in seconds and
memory.

    python benchmarks/many_slides.py FOLDER [--slides 5000]

The first run makes the study (about ten minutes), later ones only measure.

Each patient has one slide of one tile. The machine's disk cache is warm.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import tifffile
import yaml

SIDE = 256
SETTINGS = {
    "endpoint": {"name": "invented", "time_zero": "invented", "time": "pfs", "event": "event"},
    "splits": {"folds": 2, "repeats": 1},
    "train": {"epochs": 2, "seeds": 1, "nested": False, "projection": 8, "hidden": 8},
    "significance": {"permutations": 0, "bootstraps": 200},
    "evaluate": {"horizons_months": [12]},
}


def write_study(folder: Path, slides: int) -> None:
    (folder / "slides").mkdir(parents=True)
    rng = np.random.default_rng(0)
    (folder / "study.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    slide_rows, patient_rows = ["slide_id,patient_id,path"], ["patient_id,centre,pfs,event"]
    for k in range(slides):
        picture = np.full((SIDE, SIDE, 3), 243, np.uint8)
        cv2.circle(
            picture,
            (128, 128),
            112,
            tuple(int(v) for v in rng.integers((150, 60, 120), (200, 120, 180))),
            -1,
        )
        picture = np.clip(picture + rng.normal(0, 14, picture.shape), 0, 255).astype(np.uint8)
        options = {
            "photometric": "rgb",
            "compression": "jpeg",
            "tile": (256, 256),
            "resolution": (2e4, 2e4),
            "resolutionunit": 3,
        }
        tifffile.imwrite(
            folder / "slides" / f"S{k:05d}.tiff", picture, metadata=None, **options
        )  # 0.5 micrometres a pixel
        slide_rows.append(f"S{k:05d},P{k:05d},slides/S{k:05d}.tiff")
        patient_rows.append(
            f"P{k:05d},C{k % 6},{rng.exponential(20) + 0.1:.2f},{int(rng.random() < 0.5)}"
        )
    (folder / "slides.csv").write_text("\n".join(slide_rows) + "\n", encoding="utf-8")
    (folder / "patients.csv").write_text("\n".join(patient_rows) + "\n", encoding="utf-8")


def measured(verb: str, folder: Path) -> None:
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "pathoml", verb, str(folder)], stdout=subprocess.PIPE, text=True
    )
    said = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    print(
        f"{verb}: {seconds:.1f} s, {usage.ru_utime + usage.ru_stime:.1f} CPU s,"
        f" {usage.ru_maxrss / 1024:.0f} MiB, exit {status >> 8}"
    )
    print(
        "  " + "\n  ".join(said.splitlines()[-12:] if verb != "check" else said.splitlines()[:3]),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slides", type=int, default=5000)
    args = parser.parse_args()
    if not args.folder.exists():
        write_study(args.folder, args.slides)
        subprocess.run([sys.executable, "-m", "pathoml", "run", str(args.folder)], check=False)
    for verb in ("check", "status", "run"):
        measured(verb, args.folder)


if __name__ == "__main__":
    main()
