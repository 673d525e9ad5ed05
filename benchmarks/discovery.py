"""What `explain` and `discover` cost on 246 patients x 2,000 tiles x 1,280 dimensions.

    python benchmarks/discovery.py FOLDER

Writes 1.3 GB of made-up features to FOLDER, trains once, and keeps both.

Features are mixtures of twelve kinds of tiles in shares that differ between patients; there are no
slides, so that no picture is drawn. Wall and CPU seconds with the threads that torch takes, and the
peak memory of this process.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import time
from pathlib import Path

import numpy as np

from pathoml.config import load_study
from pathoml.discovery.step import discover_study
from pathoml.explanation.step import explain_study
from pathoml.store.embeddings import write_embeddings
from pathoml.store.tiles import write_tiles
from pathoml.training.step import train_study
from pathoml.types import Recipe, TileGrid, TissueMask

PATIENTS, TILES, DIM, KINDS = 246, 2000, 1280, 12
COLUMNS = 50  # of the lattice of tiles
YAML = """
endpoint: {name: invented progression, time_zero: invented, time: pfs, event: event}
tiles: {tile_px: 224, mpp: 0.5}
splits: {folds: 5, repeats: 2}
train: {seeds: 1, nested: false}
significance: {permutations: 0}
compute: {device: cpu}
"""


def write_study(folder: Path) -> None:
    rng = np.random.default_rng(0)
    (folder / "study.yaml").write_text(YAML, encoding="utf-8")
    kinds = rng.normal(size=(KINDS, DIM)).astype(np.float32)
    shares = rng.dirichlet(np.full(KINDS, 0.7), PATIENTS)
    months = rng.exponential(
        20 * np.exp(-2 * (shares[:, 0] - shares[:, 0].mean()) / shares[:, 0].std())
    )
    slides, patients = ["slide_id,patient_id,path"], ["patient_id,centre,pfs,event"]
    place = (
        np.stack([np.arange(TILES) % COLUMNS, np.arange(TILES) // COLUMNS], axis=1).astype(np.int64)
        * 448
    )
    for i in range(PATIENTS):
        slides.append(f"S{i},P{i},")
        patients.append(f"P{i},C{i % 6},{min(months[i], 60) + 0.1:.2f},{int(months[i] < 60)}")
        features = kinds[rng.choice(KINDS, TILES, p=shares[i])] + 0.8 * rng.standard_normal(
            (TILES, DIM), dtype=np.float32
        )
        grid = TileGrid(
            slide_id=f"S{i}",
            xy_l0=place,
            tile_l0=448,
            tile_px=224,
            mpp=0.5,
            level0_mpp=0.25,
            size_l0=(COLUMNS * 448, 40 * 448),
            tissue_fraction=np.ones(TILES, np.float32),
            flags=np.zeros(TILES, np.uint8),
            slide_sha256=f"{i:064d}",
        )
        mask = TissueMask(
            slide_id=f"S{i}",
            mask=np.ones((560, 700), bool),
            downsample=32.0,
            method="made up",
            flags={},
        )
        recipe = Recipe(step="made up", inputs={"slide": i})
        write_tiles(folder / "tiles" / "224px_0.5mpp" / f"S{i}.h5", grid, mask, recipe=recipe)
        path = folder / "embeddings" / "efficientnet_lite0" / f"S{i}.h5"
        half = features.astype(np.float16)
        write_embeddings(
            path,
            grid,
            half,
            encoder="efficientnet_lite0",
            encoder_sha256="0" * 64,
            precision="fp32",
            recipe=recipe,
        )
    (folder / "slides.csv").write_text("\n".join(slides) + "\n", encoding="utf-8")
    (folder / "patients.csv").write_text("\n".join(patients) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if not (folder / "runs").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_study(folder)
        study = load_study(folder)
        train_study(study)
    study = load_study(folder)
    for name, step in (("explain", explain_study), ("discover", discover_study)):
        for done in ("attention", "features"):  # of an earlier call, which would be up to date
            if name == "explain" or done == "features":
                shutil.rmtree(study.run_folder / done, ignore_errors=True)
        started, cpu = time.perf_counter(), time.process_time()
        step(study)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{name}: {time.perf_counter() - started:.0f} s, {time.process_time() - cpu:.0f} CPU s;"
            f" peak so far {peak:.1f} GiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
