"""Two magnifications of a study as one encoding: each tile with the features of the coarser tile
around it behind its own.

The joined files have the tiles of the finer grid and D + D features, so that training, maps and the
viewer read them as any other.

Source: Li et al. (DSMIL), CVPR 2021, arXiv:2011.08939, section 3.3: pyramidal concatenation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from pathoml.config import Study
from pathoml.errors import StoreError
from pathoml.store.embeddings import TILE_RECIPE, read_embeddings, write_embeddings
from pathoml.store.failures import write_failures
from pathoml.store.files import sweep_temporaries
from pathoml.store.hdf5 import stored_attr, stored_attrs
from pathoml.store.packs import is_stored
from pathoml.store.provenance import recipe_sha256
from pathoml.store.tiles import some_tiles
from pathoml.study.layout import embeddings_folder, scales
from pathoml.types import Cohort, Recipe, TileGrid

JOINING_VERSION = 1  # raise it when the same two files are joined otherwise
# sides of a coarse tile from its centre: within, a tile lies in it or in one of the eight places
# around it
BESIDE = 1.5
# coarse tiles that may lie so near, on a grid or on an imported one that is not quite regular
NEIGHBOURS = 16
NONE = -1


@dataclass(frozen=True, kw_only=True)
class JoinJob:
    """One slide that is embedded at two magnifications."""

    slide_id: str
    fine: Path
    coarse: Path
    joined: Path


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Tiles that were joined, how many of them with a coarse tile beside them, and how many had
    none.
    """

    tiles: int = 0
    beside: int = 0
    left_out: int = 0


def join_jobs(study: Study, cohort: Cohort) -> list[JoinJob]:
    """Return one job per slide that is embedded at one magnification or at both."""
    fine, coarse = (embeddings_folder(scale) for scale in scales(study))
    joined, names = embeddings_folder(study), [f"{slide.slide_id}.h5" for slide in cohort.slides]
    return [
        JoinJob(
            slide_id=name.removesuffix(".h5"),
            fine=fine / name,
            coarse=coarse / name,
            joined=joined / name,
        )
        for name in names
        if is_stored(fine / name) or is_stored(coarse / name)
    ]


def stale_jobs(jobs: Sequence[JoinJob]) -> list[JoinJob]:
    """Return the jobs whose joined file is missing or was made of other features."""
    return [
        job
        for job in jobs
        if stored_attr(job.joined, "recipe_sha256") != recipe_sha256(_recipe(job))
    ]


def _recipe(job: JoinJob) -> Recipe:
    parts = {
        name: stored_attr(path, "content_sha256")
        for name, path in (("fine", job.fine), ("coarse", job.coarse))
    }
    return Recipe(step="join", inputs={**parts, "version": JOINING_VERSION})


def join_slides(
    jobs: Sequence[JoinJob], folder: Path, *, on_slide: Callable[[int], None]
) -> tuple[Joined, dict[str, str]]:
    """Join slides one after another; return what was joined, and slide_id -> reason for those that
    failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep_temporaries(folder)
    total, failures = Joined(), {}
    for done, job in enumerate(jobs, start=1):
        try:
            one = join_slide(job)
            total = Joined(
                tiles=total.tiles + one.tiles,
                beside=total.beside + one.beside,
                left_out=total.left_out + one.left_out,
            )
        except StoreError as error:
            failures[job.slide_id] = str(error)
        on_slide(done)
    write_failures(folder, failures)
    return total, failures


def join_slide(job: JoinJob) -> Joined:
    """Write a slide's joined features: those of each fine tile, then those of its coarse tile.

    Raises:
        StoreError: it is embedded at one magnification only, by two sets of weights, or no tile has
            a coarse one.
    """
    for path, other in ((job.fine, job.coarse), (job.coarse, job.fine)):
        if not is_stored(path):
            raise StoreError(
                f"Slide {job.slide_id} is embedded in {other.parent.name}, not in "
                f"{path.parent.name}. The failures.csv of that folder, or of its tiles, says why; "
                "a small piece may hold no coarse tile. Leave the slide out, or set "
                "tiles.context_mpp to null."
            )
    fine, coarse = read_embeddings(job.fine), read_embeddings(job.coarse)
    about = stored_attrs(job.fine, ("precision", "stain", "imported_from", TILE_RECIPE))
    of_one_file = (
        fine.grid.slide_sha256 == coarse.grid.slide_sha256 or about["imported_from"]
    )  # an import may not have the slide
    if not of_one_file or fine.encoder_sha256 != coarse.encoder_sha256:
        raise StoreError(
            f"Slide {job.slide_id}: {job.fine} and {job.coarse} are of two files or weights. "
            "Delete both; run `pathoml embed`."
        )
    partner, is_beside = partners(fine.grid, coarse.grid)  # (N,) each
    kept = partner != NONE
    if not kept.any():
        raise StoreError(
            f"Slide {job.slide_id}: none of its {len(kept)} tiles has a coarse tile around or"
            " beside it. Leave it out."
        )
    write_embeddings(
        job.joined,
        some_tiles(fine.grid, kept),
        np.concatenate([fine.features[kept], coarse.features[partner[kept]]], axis=1),  # (N, D + D)
        encoder=job.joined.parent.name,
        encoder_sha256=fine.encoder_sha256,
        recipe=_recipe(job),
        **about,
    )
    return Joined(tiles=int(kept.sum()), beside=int(is_beside.sum()), left_out=int((~kept).sum()))


def partners(
    fine: TileGrid, coarse: TileGrid
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return for each of (N,) fine tiles the coarse tile whose centre is nearest to its own, and
    whether that one does not hold it.

    On a grid the nearest is the one that holds the centre, wherever that one is embedded. Where it
    is not, at the tissue's edge or under pen, the nearest beside it stands in; of two as near, the
    first. A tile without one in the eight places around gets NONE.
    """
    centres, around = (grid.xy_l0 + grid.tile_l0 / 2 for grid in (fine, coarse))
    reach = BESIDE * coarse.tile_l0
    _, near = cKDTree(around).query(
        centres, k=NEIGHBOURS, p=np.inf, distance_upper_bound=reach
    )  # (N, k), len(around) = no more
    away = np.append(around, [[np.inf, np.inf]], axis=0)[near] - centres[:, None]  # (N, k, 2)
    distance = np.square(away).sum(axis=2)  # (N, k)
    first = np.where(distance == distance.min(axis=1, keepdims=True), near, len(around)).min(
        axis=1
    )  # (N,)
    partner = np.where(first == len(around), NONE, first)
    offset = np.abs(np.append(around, [[np.inf, np.inf]], axis=0)[first] - centres).max(
        axis=1
    )  # (N,)
    return partner, (partner != NONE) & (offset > coarse.tile_l0 / 2)
