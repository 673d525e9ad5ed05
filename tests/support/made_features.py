"""A study of small drawn slides that were tiled here, with features as `embed` writes them but for
the network: constant numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pathoml.config import Study, load_study
from pathoml.embedding.jobs import EmbedJob, embed_jobs, embed_recipe
from pathoml.store.embeddings import write_embeddings
from pathoml.store.hdf5 import stored_attr
from pathoml.store.tiles import RECIPE, read_tiles
from pathoml.study.cohort import read_cohort
from pathoml.tiling.step import tile_study

ENCODER, WEIGHTS = "efficientnet_lite0", "e" * 64
YAML = """endpoint: {name: PFS, time_zero: ablation, time: months, event: seen}
tiles: {tile_px: 64, mpp: 2.0}
compute: {workers: 1}
"""


def embed_by_hand(job: EmbedJob, *, precision: str = "float32", says_how: bool = True) -> None:
    """Write the features of a slide.

    Args:
        says_how: with the recipe of its tiles, which older versions did not write.
    """
    grid = read_tiles(job.tiles_path)[0]
    write_embeddings(
        job.embeddings_path,
        grid,
        np.full((len(grid.xy_l0), 4), len(job.slide_id), np.float16),
        encoder=ENCODER,
        encoder_sha256=WEIGHTS,
        precision=precision,
        recipe=embed_recipe(ENCODER, WEIGHTS, job),
        tile_recipe=stored_attr(job.tiles_path, RECIPE) if says_how else "",
    )


def made_study(
    folder: Path,
    write_slide: Callable[..., Path],
    pink_tissue: Callable[..., np.ndarray],
    *,
    says_how: bool = True,
) -> Study:
    """Write a study of patients A (slides A1, A2) and B (B1), tiled and embedded."""
    (folder / "slides").mkdir(parents=True)
    rows = []
    for number, slide_id in enumerate(("A1", "A2", "B1")):
        picture = pink_tissue(1024, tissue_px=512 + 64 * number)
        write_slide(folder / "slides" / f"{slide_id}.tif", picture, mpp=2.0)
        rows.append(f"{slide_id},{slide_id[0]},slides/{slide_id}.tif")
    (folder / "slides.csv").write_text("\n".join(["slide_id,patient_id,path", *rows]) + "\n")
    (folder / "patients.csv").write_text("patient_id,centre,months,seen\nA,c,12,1\nB,c,7,0\n")
    (folder / "study.yaml").write_text(YAML)
    study = load_study(folder)
    tile_study(study)
    for job in embed_jobs(study, read_cohort(study)):
        embed_by_hand(job, says_how=says_how)
    return study
