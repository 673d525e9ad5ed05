"""A study that every step does within seconds, the command line in this process, and the hashes of
what it wrote.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pathoml.cli import guarded, main
from pathoml.synthetic.cohort import write_cohort

SETTINGS = {
    "splits": {"folds": 2, "repeats": 1},
    "train": {"epochs": 2, "seeds": 1, "projection": 8, "hidden": 8, "nested": False},
    "significance": {"permutations": 1, "bootstraps": 200},
    "compute": {"workers": 1, "deterministic": True, "device": "cpu"},
}


def pathoml(*arguments: str) -> int:
    return guarded(lambda: main(list(arguments)))


def tiny_study(folder: Path, patients: int = 12) -> Path:
    write_cohort(
        folder, patients=patients, seed=4, workers=1, side_um=420.0, textures=1, settings=SETTINGS
    )
    return folder


def hashes(folder: Path) -> dict[str, str]:
    kept = {".h5", ".csv", ".safetensors", ".html"}
    files = [
        p
        for part in ("tiles", "embeddings", "runs")
        for p in (folder / part).rglob("*")
        if p.suffix in kept
    ]
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(files)
    }
