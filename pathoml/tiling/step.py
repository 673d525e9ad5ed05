"""Step `tile`: find the tissue of each slide and lay tiles of one physical side over it; writes tiles/GRID/."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from pathoml.compute.memory import keep_freed_memory
from pathoml.compute.shards import Shard
from pathoml.config import TilesConfig
from pathoml.errors import SlideError
from pathoml.plugins import load_plugin
from pathoml.slides.colour import open_in_colour
from pathoml.slides.identity import by_id
from pathoml.slides.probing import Prober, probe_each
from pathoml.slides.reading import SlideReader, read_overview, slide_mpp
from pathoml.slides.reopening import TOLERATED_SHARE, ReopeningReader
from pathoml.slides.stains import stain_vectors
from pathoml.store._hdf5 import recipe_sha256, stored_attrs, write_tiles
from pathoml.store.files import atomic_path, sha256_of_file, sha256_of_json, sweep_temporaries
from pathoml.store.tables import write_table
from pathoml.tiling.artefacts import artefact_masks, look_closely
from pathoml.tiling.quality import FLAG_COLOURS, STAINS, write_quality
from pathoml.tiling.regions import excluded_mask, read_regions
from pathoml.tiling.tissue import OVERVIEW_UM, optical_density, tissue_mask
from pathoml.types import FLAGS, Bools, Floats, Image, Ints, Recipe, Slide, SlideInfo, TileGrid, TissueMask

TILING_VERSION = 6  # raise it when tiles of the same slide and configuration come out otherwise
FLAGGED_SHARE = {
    "pen": 0.1,
    "dark": 0.1,
    "fold": 0.1,
    "bubble": 0.1,
    "blank": 0.9,
    "excluded_region": 0.5,
}  # of a tile, from which on it is flagged
STAINED = 0.05  # optical density of an overview's pixel that glass does not reach
FINER_THAN_SLIDE = 1.05  # tolerated: 0.2525 for 0.25
CLOCK_SECONDS = 60.0  # by which the clocks of machines that share a disk may differ
OVERVIEW_SIDE_PX = 1600  # longest side of the picture for people


@dataclass(frozen=True, kw_only=True)
class TileJob:
    """One slide to tile: what a worker needs and nothing else."""

    slide: Slide
    study_mpp: float | None
    tile_px: int
    mpp: float
    tiles: TilesConfig
    folder: Path
    regions: Path | None = None  # GeoJSON of areas to let in or leave out, if there is one


@dataclass(frozen=True, kw_only=True)
class TileCount:
    """What one slide gave."""

    slide_id: str
    tiles: int
    flagged: int
    tissue_mm2: float


def grid_name(tile_px: int, mpp: float) -> str:
    """Return the name of a tile grid's folder.

    >>> grid_name(224, 0.5)
    '224px_0.5mpp'
    """
    return f"{tile_px}px_{float(mpp):g}mpp" if mpp != int(mpp) else f"{tile_px}px_{mpp:.1f}mpp"


def tile_recipe(job: TileJob, slide_sha256: str) -> Recipe:
    """Return everything that decides the tiles of a slide."""
    tiles = job.tiles.model_dump(include={"min_tissue", "upsample"})
    inputs = {"slide": slide_sha256, "row_mpp": job.slide.mpp, "study_mpp": job.study_mpp, "tile_px": job.tile_px, "mpp": job.mpp}
    drawn = {"regions": sha256_of_file(job.regions)} if job.regions else {}
    colours = {"icc": True} if job.tiles.icc else {}  # as it was before there was a choice
    return Recipe(step="tile", inputs={**inputs, **tiles, **drawn, **colours, "version": TILING_VERSION})


def stale_jobs(jobs: Sequence[TileJob]) -> list[TileJob]:
    """Return the jobs whose tiles are missing or were made from another recipe or another file."""
    return [job for job in jobs if not _is_fresh(job)]


def tile_slides(
    jobs: Sequence[TileJob], *, workers: int, on_slide: Callable[[str], None], shard: Shard | None = None, engine: str = "local"
) -> tuple[list[TileCount], dict[str, str]]:
    """Tile slides in parallel; a slide that fails is recorded and the others go on.

    Args:
        shard: which part of the batch the jobs are; it writes failures of its own and leaves the sheet of all slides to `tile` without.
        engine: a file in pathoml/engines/.

    Returns:
        What each slide gave, and slide_id -> reason for those that failed; the same stands in tiles/GRID/failures.csv.
    """
    counts, failures = [], {}
    for folder in {job.folder for job in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
        sweep_temporaries(folder)
    sound = [(job.slide.slide_id, job) for job in jobs if job.slide.path is None]  # told as a failure of its own
    with_file = [(job, job.slide.path) for job in jobs if job.slide.path is not None]
    probed = probe_each([path for _, path in with_file], Prober.refusal, workers=workers)
    for (job, _), (_, reason) in zip(with_file, probed):
        if reason is None:
            sound.append((job.slide.slide_id, job))
        else:
            failures[job.slide.slide_id] = by_id(reason, job.slide.slide_id, job.slide.path)
            on_slide(job.slide.slide_id)
    path_of = {job.slide.slide_id: job.slide.path for job in jobs}
    for slide_id, result in load_plugin("pathoml.engines", engine, "map_items").map_items(tile_one, sound, workers=workers):
        if isinstance(result, Exception):
            reason = str(result) if isinstance(result, SlideError) else f"{type(result).__name__}: {result}"
            failures[slide_id] = by_id(reason, slide_id, path_of[slide_id])
        else:
            counts.append(result)
        on_slide(slide_id)
    for folder in {job.folder for job in jobs}:
        write_failures(folder, failures, shard)
        if shard is None:
            write_quality(folder, failures)
    return counts, failures


def sheet_is_behind(folder: Path) -> bool:
    """Return whether a slide was tiled after quality.csv and index.html were written, as shards do, or one of them was not."""
    sheets = [folder / name for name in ("quality.csv", "index.html")]
    written = min(sheet.stat().st_mtime_ns if sheet.exists() else 0 for sheet in sheets)
    return any(path.stat().st_mtime_ns > written for path in folder.glob("*.h5"))


def settle_failures(folder: Path) -> None:
    """Leave one empty failures.csv where shards left theirs, or a killed run none: for when nothing of the batch is to do any more."""
    if folder.is_dir():
        sweep_temporaries(folder)
    if folder.is_dir() and (any(folder.glob("failures.*-of-*.csv")) or not (folder / "failures.csv").exists()):
        write_failures(folder, {})


def write_failures(folder: Path, failures: dict[str, str], shard: Shard | None = None) -> None:
    """Write failures.csv of a batch step: one line a slide that failed, with the reason; failures.3-of-8.csv of a shard.

    Without a shard the whole batch is known, and the files of its shards are removed.
    """
    with atomic_path(folder / f"failures{shard.suffix if shard else ''}.csv") as path:
        write_table(path, ("slide_id", "reason"), sorted(failures.items()))
    if shard is None:
        for stale in folder.glob("failures.*-of-*.csv"):
            stale.unlink(missing_ok=True)


def tile_one(job: TileJob) -> TileCount:
    """Tile one slide and write tiles/GRID/SLIDE.h5 and SLIDE.png.

    Raises:
        SlideError: unreadable, without scale, coarser than the tiles asked for, or without a tile of tissue.
    """
    if job.slide.path is None:
        raise SlideError(f"Slide {job.slide.slide_id} has no path in slides.csv, and no imported embeddings.")
    keep_freed_memory()
    with open_in_colour(job.slide.path, job.slide.slide_id, icc=job.tiles.icc) as reader:
        info = describe_slide(reader, job.slide.path, job)
        mask, overview = look_at(reader, info.mpp, info.slide_id)
        if job.regions:
            drawn = excluded_mask(read_regions(job.regions), mask.mask.shape, mask.downsample, getattr(reader, "bounds_l0", (0, 0)))
            mask = replace(mask, flags={**mask.flags, "excluded_region": drawn})
        grid = tile_grid(info, mask, job, overview)
    tissue, um_per_px = mask.mask, mask.downsample * info.mpp
    with atomic_path(job.folder / f"{info.slide_id}.png") as path:
        path.write_bytes(png_bytes(draw_overview(overview, mask, grid)))
    if not len(grid.xy_l0):
        raise SlideError(
            f"Slide {info.slide_id} has no tile of {grid.tile_um:.0f} micrometres with {job.tiles.min_tissue:.0%} tissue "
            f"({tissue.sum() * um_per_px**2 / 1e6:.2f} mm2 of tissue found). Look at its picture, lower tiles.min_tissue, or leave it out."
        )
    about = {"scanner": info.vendor, "mpp_source": info.mpp_source, **stains_text(overview, tissue)}
    write_tiles(job.folder / f"{info.slide_id}.h5", grid, mask, tile_recipe(job, info.sha256), about=about)
    return TileCount(
        slide_id=info.slide_id,
        tiles=len(grid.xy_l0),
        flagged=int((grid.flags > 0).sum()),
        tissue_mm2=float(tissue.sum() * um_per_px**2 / 1e6),
    )


def stains_text(overview: Image, tissue: Bools) -> dict[str, str]:
    """Return each stain's vector as quality.csv shows it, or nothing where too little is stained."""
    stains = stain_vectors(overview, tissue)
    return {} if stains is None else {name: " ".join(f"{v:.3f}" for v in stain) for name, stain in zip(STAINS, stains)}


def look_at(reader: SlideReader, mpp: float, slide_id: str) -> tuple[TissueMask, Image]:
    """Return where the tissue and the artefacts are, and the overview that shows it, OVERVIEW_UM micrometres a pixel."""
    overview, downsample = read_overview(reader, OVERVIEW_UM / mpp)
    um_per_px = downsample * mpp
    tissue = tissue_mask(overview, um_per_px)
    flags = artefact_masks(overview, um_per_px, tissue=tissue)
    return TissueMask(slide_id=slide_id, mask=tissue, downsample=downsample, method=f"density-{TILING_VERSION}", flags=flags), overview


def flag_tiles(mask: TissueMask, blurred: Bools, xy_l0: Ints, tile_l0: int) -> npt.NDArray[np.uint8]:
    """Return (N,) bits, FLAGS[i] is bit i: artefacts of the overview that cover enough of a tile, and lost focus.

    Args:
        blurred: (N,) tiles out of focus.
    """
    flags = np.zeros(len(xy_l0), np.uint8)
    for name, where in mask.flags.items():
        share = box_means(where, xy_l0 / mask.downsample, tile_l0 / mask.downsample)
        flags[share > FLAGGED_SHARE[name]] |= 1 << FLAGS.index(name)
    flags[blurred] |= 1 << FLAGS.index("out_of_focus")
    return flags


def describe_slide(reader: SlideReader, path: Path, job: TileJob) -> SlideInfo:
    """Return what the slide says of itself, with the scale checked.

    Raises:
        SlideError: no scale, or the slide is coarser than the tiles asked for.
    """
    slide = job.slide
    mpp, source = slide_mpp(reader, slide.slide_id, row_mpp=slide.mpp, study_mpp=job.study_mpp)
    if mpp > job.mpp * FINER_THAN_SLIDE and not job.tiles.upsample:
        raise SlideError(
            f"Slide {slide.slide_id} has {mpp:g} micrometres per pixel, coarser than the tiles' {job.mpp:g}. Set tiles.mpp to {mpp:g} or "
            "more for the whole study, or tiles.upsample: true if blurred tiles are acceptable."
        )
    return SlideInfo(
        slide_id=slide.slide_id,
        path=path,
        size_l0=reader.size_l0,
        mpp=mpp,
        mpp_source=source,
        level_downsamples=reader.level_downsamples,
        vendor=reader.vendor,
        sha256=sha256_of_slide(path),
    )


def tile_grid(info: SlideInfo, mask: TissueMask, job: TileJob, overview: Image) -> TileGrid:
    """Return the tiles with enough tissue, row by row, on a grid without gaps from the slide's top left corner.

    Raises:
        SlideError: more than a hundredth of them cannot be read, or have no pixels where the overview shows tissue.
    """
    tile_l0 = round(job.tile_px * job.mpp / info.mpp)
    columns, rows = info.size_l0[0] // tile_l0, info.size_l0[1] // tile_l0
    x, y = np.meshgrid(np.arange(columns) * tile_l0, np.arange(rows) * tile_l0)
    xy_l0 = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.int64)  # (rows * columns, 2)
    tissue_fraction = box_means(mask.mask, xy_l0 / mask.downsample, tile_l0 / mask.downsample)
    keep = tissue_fraction >= max(job.tiles.min_tissue, 1e-6)
    xy_l0, tissue_fraction = xy_l0[keep], tissue_fraction[keep]
    opener = partial(open_in_colour, info.path, info.slide_id, icc=job.tiles.icc)
    with ReopeningReader(opener, name=info.slide_id, tiles=len(xy_l0)) as reader:
        blurred, white = look_closely(reader.read_tile, xy_l0, tile_l0, info.mpp)
    stained = box_means(optical_density(overview) > STAINED, xy_l0 / mask.downsample, tile_l0 / mask.downsample) > 0.5
    refuse_lost_pixels(info.slide_id, white & stained)
    flags = flag_tiles(mask, blurred, xy_l0, tile_l0)
    return TileGrid(
        slide_id=info.slide_id,
        xy_l0=xy_l0,
        tile_l0=tile_l0,
        tile_px=job.tile_px,
        mpp=job.mpp,
        level0_mpp=info.mpp,
        size_l0=info.size_l0,
        tissue_fraction=tissue_fraction.astype(np.float32),
        flags=flags,
        slide_sha256=info.sha256,
    )


def refuse_lost_pixels(slide_id: str, lost: Bools) -> None:
    """Raise SlideError if more than a hundredth of a slide's (N,) tiles are blank in the file though stained on its overview."""
    if lost.sum() > max(1, int(len(lost) * TOLERATED_SHARE)):
        raise SlideError(
            f"Slide {slide_id} is damaged: {int(lost.sum())} of its {len(lost)} tiles have no pixels where its overview shows tissue. "
            "Copy it again from the scanner's archive."
        )


def box_means(mask: Bools, xy: Floats, side: float) -> npt.NDArray[np.float64]:
    """Return the exact mean of a mask over squares with fractional corners.

    Args:
        mask: (H, W).
        xy: (N, 2) top left corners in pixels of the mask.
        side: side of the squares in pixels of the mask.

    >>> box_means(np.array([[True, False]]), np.array([[0.5, 0.0]]), 1.0)
    array([0.5])
    """
    height, width = mask.shape
    if not mask.any():
        return np.zeros(len(xy))
    sums = cv2.integral(mask.view(np.uint8))  # (H + 1, W + 1)

    def below(x: Floats, y: Floats) -> npt.NDArray[np.float64]:
        x, y = np.clip(x, 0, width), np.clip(y, 0, height)
        i, j = np.minimum(y.astype(int), height - 1), np.minimum(x.astype(int), width - 1)
        v, u = y - i, x - j
        top = sums[i, j] * (1 - u) + sums[i, j + 1] * u
        return np.asarray(top * (1 - v) + (sums[i + 1, j] * (1 - u) + sums[i + 1, j + 1] * u) * v)

    x0, y0 = xy[:, 0], xy[:, 1]
    x1, y1 = x0 + side, y0 + side
    return np.asarray((below(x1, y1) - below(x0, y1) - below(x1, y0) + below(x0, y0)) / side**2)


def kept_tiles(grid: TileGrid, exclude: Sequence[str]) -> TileGrid:
    """Return the grid without the tiles that carry one of the flags, or that a person drew out."""
    bits = sum(1 << FLAGS.index(name) for name in {*exclude, "excluded_region"})
    return some_tiles(grid, (grid.flags & bits) == 0)


def flags_at(grid: TileGrid, xy_l0: Ints) -> npt.NDArray[np.uint8]:
    """Return (N,) the flags of the grid's tiles at (N, 2) corners, 0 where it has no tile.

    >>> from types import SimpleNamespace
    >>> grid = SimpleNamespace(xy_l0=np.array([[0, 0], [9, 0], [0, 9]]), flags=np.array([1, 2, 4], np.uint8))
    >>> flags_at(grid, np.array([[0, 9], [9, 9], [9, 0]])).tolist()
    [4, 0, 2]
    """
    if not len(grid.xy_l0):
        return np.zeros(len(xy_l0), np.uint8)
    known, wanted = (xy[:, 1].astype(np.int64) << 32 | xy[:, 0].astype(np.int64) for xy in (grid.xy_l0, xy_l0))
    order = np.argsort(known, kind="stable")
    place = order[np.minimum(np.searchsorted(known[order], wanted), len(known) - 1)]
    return np.where(known[place] == wanted, grid.flags[place], 0).astype(np.uint8)


def some_tiles(grid: TileGrid, keep: npt.NDArray[np.bool_]) -> TileGrid:
    """Return the grid with those of its tiles for which `keep` (tiles,) holds."""
    return TileGrid(**{**vars(grid), **{k: getattr(grid, k)[keep] for k in ("xy_l0", "tissue_fraction", "flags")}})


def draw_overview(overview: Image, mask: TissueMask, grid: TileGrid) -> Image:
    """Return the overview with the tissue's outline (green), flags (tinted) and the tiles (thin lines), for the eye."""
    picture = overview.copy()
    for name, flag in mask.flags.items():
        picture[flag] = (0.5 * picture[flag] + 0.5 * np.array(FLAG_COLOURS[name])).astype(np.uint8)
    scale = min(3.0, OVERVIEW_SIDE_PX / max(picture.shape[:2]))
    shrink_or_grow = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    picture = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=shrink_or_grow), dtype=np.uint8)
    side = grid.tile_l0 / mask.downsample * scale
    for (x, y), flag in zip(grid.xy_l0 / mask.downsample * scale, grid.flags):
        corner, opposite = (round(x), round(y)), (round(x + side), round(y + side))
        cv2.rectangle(picture, corner, opposite, (200, 60, 0) if flag else (60, 60, 60), 1)
    outlines, _ = cv2.findContours(mask.mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, [np.round(o * scale).astype(np.int32) for o in outlines], -1, (0, 130, 60), 2)
    return np.asarray(picture, dtype=np.uint8)


def png_bytes(image: Image) -> bytes:
    """Return an RGB image as PNG."""
    return bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1])


def sha256_of_slide(path: Path) -> str:
    """Return the SHA-256 of a slide's file, or of the files of its folder by name."""
    if path.is_dir():
        return sha256_of_json({p.name: sha256_of_file(p) for p in sorted(path.iterdir()) if p.is_file()})
    return sha256_of_file(path)


def _is_fresh(job: TileJob) -> bool:
    path = job.folder / f"{job.slide.slide_id}.h5"
    stored, unchanged = stored_attrs(path, ("recipe_sha256", "slide_sha256")).values()
    if not stored or job.slide.path is None or not job.slide.path.exists():
        return False
    tiled_at = path.stat().st_mtime
    if _touched_at(job.slide.path) > tiled_at or tiled_at > time.time() + CLOCK_SECONDS:  # touched since, or the clock jumped: bytes tell
        unchanged = sha256_of_slide(job.slide.path)
    return stored == recipe_sha256(tile_recipe(job, unchanged))


def _touched_at(path: Path) -> float:
    return max(p.stat().st_mtime for p in ([path, *path.iterdir()] if path.is_dir() else [path]))
