"""What each phenotype looks like, as concentrations of the dyes at 0.5 micrometres a pixel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from pathoml.errors import PathomlError, nearest
from pathoml.synthetic.fields import (
    Field,
    along_contours,
    cell_borders,
    enlarge,
    fibres,
    smooth_noise,
    spaced_points,
)
from pathoml.synthetic.intermixed import intermix, paint_red_cells
from pathoml.synthetic.nuclei import blobs, paint_bodies, paint_nuclei, spread
from pathoml.synthetic.stain import BALANCED, FloatImage, Image8, Stain, to_rgb

INFILTRATE_PER_MM2 = {
    "spindle": 40,
    "pleomorphic": 120,
    "necrosis": 15,
    "myxoid": 60,
    "vessel": 80,
}  # lymphocytes, the median texture
# micrometres a pixel of every drawing; lengths below are in these pixels, 2 px = 1 um
DRAW_MPP = 0.5


def draw_field(
    rng: np.random.Generator, phenotype: str, *, side_um: float = 112.0, mpp: float = 0.5,
    stain: Stain = BALANCED,
) -> Image8:  # fmt: skip
    """Return one square field of one phenotype, (side, side, 3) uint8, side = side_um / mpp.

    >>> draw_field(np.random.default_rng(1), "myxoid", side_um=64).shape
    (128, 128, 3)
    """
    picture = to_rgb(
        draw_texture(rng, phenotype, side_px=max(128, round(side_um / DRAW_MPP))), stain
    )
    drawn_px, side_px = side_um / DRAW_MPP, max(1, round(side_um / mpp))
    resized = Image.fromarray(picture).resize(
        (side_px, side_px), Image.Resampling.BICUBIC, (0, 0, drawn_px, drawn_px)
    )
    return np.asarray(resized)


def draw_texture(rng: np.random.Generator, phenotype: str, *, side_px: int = 1024) -> FloatImage:
    """Return (side, side, 3) concentrations of haematoxylin, eosin and blood; the edges wrap
    around.

    Raises:
        PathomlError: the phenotype is not one of PHENOTYPES.
    """
    if phenotype not in PAINTERS:
        hint = nearest(phenotype, PAINTERS)
        raise PathomlError(
            f"phenotype {phenotype!r} is unknown.{hint} Choose one of {', '.join(PAINTERS)}."
        )
    tissue = PAINTERS[phenotype](rng, side_px)
    if phenotype in INFILTRATE_PER_MM2:
        intermix(rng, tissue, infiltrate_per_mm2=INFILTRATE_PER_MM2[phenotype])
    thickness = (
        1
        + 0.06 * smooth_noise(rng, (side_px, side_px), 60)
        + 0.05 * smooth_noise(rng, (side_px, side_px), 1.0)
    )
    return np.asarray(np.clip(tissue * thickness[..., None], 0, 2.5), np.float32)


def paint_spindle(rng: np.random.Generator, side_px: int) -> FloatImage:
    """Fascicles of slender cells that run along a bending field, cut lengthwise here and across
    there.
    """
    shape = (side_px, side_px)
    angle = _bending(
        rng, shape, sweep=rng.uniform(0.6, 1.4), scale_px=rng.uniform(80, 140), waviness=0.16
    )
    strand = fibres(rng, angle, length_px=64, thickness_px=rng.uniform(1.6, 3.0))
    bundle = fibres(rng, angle, length_px=128, thickness_px=9)
    eosin = rng.uniform(0.18, 0.75) + rng.uniform(0.07, 0.24) * strand + 0.09 * bundle
    eosin *= 1 - 0.9 * _step(
        bundle + 0.7 * strand, rng.uniform(0.2, 2.3), 0.35
    )  # slits between bundles
    tissue = _dyes(rng.uniform(0.25, 0.4) * eosin, eosin)
    xy = spaced_points(rng, side_px, rng.uniform(13, 24), jitter=0.32)
    along = _at(angle, xy) + rng.normal(0, 0.14, len(xy))
    crosscut = np.clip(0.5 + 0.55 * _at(smooth_noise(rng, shape, 90), xy), 0, 1)
    n = len(xy)
    length = rng.lognormal(np.log(rng.uniform(16, 30)), 0.22, n) * (1 - 0.5 * crosscut)
    width = rng.lognormal(np.log(rng.uniform(5.5, 8.5)), 0.18, n) * (1 + 0.25 * crosscut)
    nuclei = blobs(xy, length, width, angle=along, irregularity=np.full(n, 0.06))
    keep = np.flatnonzero(
        rng.random(n) < np.clip(0.62 + 0.22 * _at(smooth_noise(rng, shape, 70), xy), 0.2, 0.95)
    )
    paint_nuclei(
        rng,
        tissue,
        nuclei[keep],
        haematoxylin=spread(rng, len(keep), rng.uniform(0.65, 1.25), sd=0.16),
        vesicular=spread(rng, len(keep), rng.uniform(0.1, 0.7), sd=0.2),
    )
    return tissue


def paint_pleomorphic(rng: np.random.Generator, side_px: int) -> FloatImage:
    """Large, bizarre, dark nuclei, some giant, some several in a cell, in ample cytoplasm."""
    shape = (side_px, side_px)
    strand = fibres(
        rng,
        _bending(rng, shape, sweep=1.6, scale_px=60, waviness=0.3),
        length_px=32,
        thickness_px=2.5,
    )
    tissue = _dyes(
        0.04 + 0.03 * strand, rng.uniform(-0.12, 0.32) + 0.13 * strand
    )  # the ground is torn away below 0
    scale = rng.uniform(0.6, 1.0)  # one tumour's cells are larger than another's
    xy = spaced_points(rng, side_px, scale * rng.uniform(32, 46), jitter=0.24)
    n = len(xy)
    gap = cell_borders(xy, side_px) + 3 * smooth_noise(rng, shape, 5)
    borders = _step(gap, scale * rng.uniform(2.0, 16.0), 3.0)[
        ..., None
    ]  # cells lie close here, fall apart there
    mottle = smooth_noise(rng, shape, 2.2)
    shade = enlarge(smooth_noise(rng, (side_px // 4, side_px // 4), 6), shape)
    body = _dyes(
        rng.uniform(0.10, 0.36) + 0.05 * mottle + 0.07 * shade,
        rng.uniform(0.3, 0.8) + 0.09 * mottle + 0.10 * shade,
    )
    tissue += borders * (body - tissue)
    size = scale * np.where(
        rng.random(n) < rng.uniform(0.03, 0.16),
        rng.lognormal(np.log(46), 0.25, n),
        rng.lognormal(np.log(22), 0.28, n),
    )
    size = np.minimum(size, 90)
    giant = np.flatnonzero(size > 34 * scale)
    cells = blobs(
        xy, 2.0 * size, 1.6 * size, angle=rng.uniform(0, np.pi, n), irregularity=np.full(n, 0.10)
    )
    colour = np.stack(
        [spread(rng, n, 0.26, sd=0.06), spread(rng, n, 0.66, sd=0.14), np.zeros(n)], axis=1
    )
    paint_bodies(
        rng,
        tissue,
        cells[giant],
        concentration=colour[giant].astype(np.float32),
        edge_px=5,
        opacity=0.85,
    )
    angle = rng.uniform(0, np.pi, n)
    nuclei = blobs(
        xy,
        size * 1.2,
        size * rng.uniform(0.6, 0.95, n),
        angle=angle,
        irregularity=rng.uniform(0.05, 0.2, n),
    )
    paint_nuclei(
        rng,
        tissue,
        nuclei,
        haematoxylin=spread(rng, n, rng.uniform(0.8, 1.25), sd=0.28),
        vesicular=rng.beta(1.3, rng.uniform(0.8, 3), n).astype(np.float32),
    )
    twins = rng.permutation(giant)[
        : len(giant) // 2
    ]  # a second and a third nucleus beside the first
    for _ in range(2):
        shift = rng.normal(0, 0.42, (len(twins), 2)) * size[twins, None]
        lobe = blobs(
            xy[twins] + shift,
            0.6 * size[twins],
            0.5 * size[twins],
            angle=angle[twins],
            irregularity=np.full(len(twins), 0.12),
        )
        paint_nuclei(
            rng,
            tissue,
            lobe,
            haematoxylin=spread(rng, len(twins), 1.2, sd=0.2),
            vesicular=spread(rng, len(twins), 0.3, sd=0.2),
        )
    return tissue


def paint_necrosis(rng: np.random.Generator, side_px: int) -> FloatImage:
    """Ghosts of cells in pink granular debris, with dust of broken nuclei and holes."""
    shape = (side_px, side_px)
    grain, clod, cloud = (smooth_noise(rng, shape, s) for s in (1.1, rng.uniform(2.5, 9.0), 40))
    tissue = _dyes(
        rng.uniform(0.03, 0.16) + 0.02 * grain,
        rng.uniform(0.12, 0.7) + rng.uniform(0.05, 0.16) * grain + 0.10 * clod + 0.10 * cloud,
    )
    xy = spaced_points(rng, side_px, rng.uniform(20, 34), jitter=0.3)
    n = len(xy)
    ghosts = blobs(
        xy,
        spread(rng, n, 19, sd=5),
        spread(rng, n, 14, sd=3),
        angle=rng.uniform(0, np.pi, n),
        irregularity=np.full(n, 0.12),
    )
    colour = np.stack(
        [
            spread(rng, n, rng.uniform(0.08, 0.36), sd=0.06),
            spread(rng, n, rng.uniform(0.3, 0.75), sd=0.12),
            np.zeros(n),
        ],
        axis=1,
    )
    paint_bodies(
        rng,
        tissue,
        ghosts,
        concentration=colour.astype(np.float32),
        edge_px=3,
        opacity=rng.uniform(0.5, 0.9),
        rim=0.5,
    )
    holes = _step(
        clod + 0.5 * smooth_noise(rng, shape, 2.5) - 0.6 * cloud, rng.uniform(0.2, 2.2), 0.4
    )
    tissue *= (1 - 0.9 * holes)[..., None]
    dust = blobs(
        rng.uniform(0, side_px, (3 * n, 2)),
        spread(rng, 3 * n, 3.6, sd=1.5),
        spread(rng, 3 * n, 3.0, sd=1.0),
        angle=rng.uniform(0, np.pi, 3 * n),
        irregularity=np.full(3 * n, 0.1),
    )
    near = np.flatnonzero(
        rng.random(3 * n)
        < np.clip(
            rng.uniform(0.0, 0.2) + 0.22 * _at(smooth_noise(rng, shape, 45), dust.xy_px), 0, 1
        )
    )
    paint_nuclei(
        rng,
        tissue,
        dust[near],
        haematoxylin=spread(rng, len(near), 0.95, sd=0.2),
        vesicular=np.zeros(len(near), np.float32),
    )
    return tissue


def paint_myxoid(rng: np.random.Generator, side_px: int) -> FloatImage:
    """Pale bluish ground substance with thin wisps, stellate cells and curved capillaries."""
    shape = (side_px, side_px)
    cloud, grain = smooth_noise(rng, shape, 35), smooth_noise(rng, shape, 1.5)
    ground = rng.uniform(0.1, 2.4)
    tissue = _dyes(
        ground * (0.11 + 0.04 * cloud) + 0.015 * grain,
        ground * (0.07 + 0.02 * cloud) + 0.01 * grain,
    )
    first = _bending(rng, shape, sweep=0.9, scale_px=120, waviness=0.45)
    for turn, dye in ((0.0, (0.10, 0.26)), (1.1, (0.12, 0.14))):
        wisps = fibres(rng, first + turn, length_px=64, thickness_px=rng.uniform(1.4, 3.4))
        patchy = np.clip(0.7 + 0.5 * smooth_noise(rng, shape, 50), 0.1, 1.6)
        tissue += (rng.uniform(0.5, 1.7) * _step(wisps, rng.uniform(0.2, 1.4), 0.9) * patchy)[
            ..., None
        ] * np.array([*dye, 0], np.float32)
    xy = spaced_points(rng, side_px, rng.uniform(38, 85), jitter=0.38)
    n, along = len(xy), _at(first, xy) + rng.normal(0, 0.5, len(xy))
    reach = rng.uniform(0.1, 0.6)
    for turn in (0.0, 0.9, -0.8):  # the processes of a stellate cell
        arms = blobs(
            xy,
            spread(rng, n, 46, sd=14),
            spread(rng, n, 4.0, sd=1.0),
            angle=along + turn,
            irregularity=np.full(n, 0.05),
        )
        paint_bodies(
            rng,
            tissue,
            arms,
            concentration=np.tile(np.array([0.26, 0.42, 0]), (n, 1)),
            edge_px=3,
            opacity=reach,
        )
    nuclei = blobs(
        xy,
        spread(rng, n, 17, sd=4),
        spread(rng, n, 8.5, sd=2),
        angle=along,
        irregularity=np.full(n, 0.10),
    )
    paint_nuclei(
        rng,
        tissue,
        nuclei,
        haematoxylin=spread(rng, n, 0.85, sd=0.2),
        vesicular=spread(rng, n, 0.35, sd=0.2),
    )
    return tissue


def paint_fat(rng: np.random.Generator, side_px: int) -> FloatImage:
    """Large empty fat cells between thin membranes, with flat nuclei pressed against them."""
    shape = (side_px, side_px)
    xy = spaced_points(rng, side_px, rng.uniform(85, 130), jitter=0.2)
    gap = cell_borders(xy, side_px) + 1.6 * enlarge(
        smooth_noise(rng, (side_px // 4, side_px // 4), 3), shape
    )
    wall = _step(-gap, -rng.uniform(3.2, 7.0), 1.6)
    seam = _step(smooth_noise(rng, shape, 60) - gap / 9, 0.7, 0.5)  # fibrous septa where cells meet
    strand = fibres(rng, along_contours(gap), length_px=16, thickness_px=2.0)
    tissue = _dyes(
        0.10 * wall + 0.05 * seam,
        (rng.uniform(0.25, 0.7) + 0.12 * strand) * np.maximum(wall, seam) + 0.015,
    )
    candidates = rng.uniform(0, side_px, (6000, 2)).astype(np.float32)
    on_wall = candidates[_at(wall, candidates) > 0.8][: side_px // 6]
    n = len(on_wall)
    angle = _at(along_contours(gap), on_wall)
    nuclei = blobs(
        on_wall,
        spread(rng, n, 17, sd=4),
        spread(rng, n, 5.5, sd=1.2),
        angle=angle,
        irregularity=np.full(n, 0.06),
    )
    paint_nuclei(
        rng,
        tissue,
        nuclei,
        haematoxylin=spread(rng, n, 0.9, sd=0.15),
        vesicular=spread(rng, n, 0.2, sd=0.1),
    )
    return tissue


def paint_lymphocyte(rng: np.random.Generator, side_px: int) -> FloatImage:
    """Crowded small round dark nuclei with hardly any cytoplasm."""
    shape = (side_px, side_px)
    cloud = smooth_noise(rng, shape, 30)
    strand = fibres(
        rng,
        _bending(rng, shape, sweep=1.5, scale_px=50, waviness=0.3),
        length_px=16,
        thickness_px=2.2,
    )
    tissue = _dyes(
        rng.uniform(0.02, 0.2) + 0.03 * strand,
        np.clip(rng.uniform(-0.1, 0.4) + 0.14 * strand, 0.02, None),
    )
    xy = spaced_points(rng, side_px, rng.uniform(14.5, 20), jitter=0.22)
    keep = xy[
        rng.random(len(xy)) < np.clip(rng.uniform(0.5, 0.9) + 0.18 * _at(cloud, xy), 0.2, 0.99)
    ]
    n = len(keep)
    size = rng.lognormal(np.log(13.2), 0.12, n)
    bodies = blobs(
        keep, 1.22 * size, 1.2 * size, angle=rng.uniform(0, np.pi, n), irregularity=np.full(n, 0.05)
    )
    paint_bodies(
        rng,
        tissue,
        bodies,
        concentration=np.tile(np.array([0.20, 0.36, 0]), (n, 1)),
        edge_px=2,
        opacity=0.6,
    )
    nuclei = blobs(
        keep, size, 0.9 * size, angle=rng.uniform(0, np.pi, n), irregularity=np.full(n, 0.04)
    )
    paint_nuclei(
        rng,
        tissue,
        nuclei,
        haematoxylin=spread(rng, n, rng.uniform(0.9, 1.3), sd=0.14),
        vesicular=spread(rng, n, rng.uniform(0.2, 0.6), sd=0.18),
    )
    return tissue


def paint_vessel(rng: np.random.Generator, side_px: int) -> FloatImage:
    """Wavy collagen around vessels: a wall in rings, an endothelium, red cells in the lumen."""
    shape = (side_px, side_px)
    angle = _bending(rng, shape, sweep=0.7, scale_px=130, waviness=0.35)
    xy = spaced_points(rng, side_px, 200, jitter=0.25)
    xy = xy[: int(rng.integers(1, len(xy) + 1))]
    n = len(xy)
    radius_px = np.clip(rng.lognormal(np.log(30), 0.5, n), 14, 78).astype(np.float32)
    aspect = rng.uniform(0.55, 1.0, n)
    turn = rng.uniform(0, np.pi, n)
    reach, around = _nearest_ring(side_px, xy, radius_px, aspect, turn)  # 1 on the inner wall
    wall = _step(-reach, -1.55, 0.25)
    angle = np.where(reach < 1.9, around, angle).astype(np.float32)
    strand = fibres(rng, angle, length_px=64, thickness_px=3.0)
    band = fibres(rng, angle, length_px=128, thickness_px=12)
    slits = _step(band + 0.5 * strand, rng.uniform(0.6, 3.0), 0.4) * (1 - wall)
    eosin = (
        rng.uniform(0.4, 1.3) + rng.uniform(0.03, 0.16) * strand + rng.uniform(0.03, 0.16) * band
    ) * (1 - 0.9 * slits)
    tissue = _dyes(0.07 + 0.08 * wall + 0.02 * strand, eosin)
    spots = spaced_points(rng, side_px, 21, jitter=0.35)
    chance = np.where(_at(reach, spots) < 1.6, 0.75, rng.uniform(0.02, 0.2)) * (
        _at(reach, spots) > 1.08
    )
    spots = spots[rng.random(len(spots)) < chance]
    m = len(spots)
    nuclei = blobs(
        spots,
        spread(rng, m, 22, sd=5),
        spread(rng, m, 6.5, sd=1.4),
        angle=_at(angle, spots),
        irregularity=np.full(m, 0.07),
    )
    if rng.random() < 0.4:  # hyaline: each cell lies in a hole that shrinkage left
        holes = blobs(
            spots,
            1.5 * nuclei.length_px,
            2.2 * nuclei.width_px,
            angle=nuclei.angle,
            irregularity=np.full(m, 0.1),
        )
        paint_bodies(rng, tissue, holes, concentration=np.full((m, 3), 0.02, np.float32), edge_px=2)
    paint_nuclei(
        rng,
        tissue,
        nuclei,
        haematoxylin=spread(rng, m, 0.88, sd=0.16),
        vesicular=spread(rng, m, 0.35, sd=0.2),
    )
    lumen = _step(-reach, -1.0, 0.06)[..., None]
    tissue += lumen * (_dyes(np.full(shape, 0.01), np.full(shape, 0.05)) - tissue)
    red = spaced_points(rng, side_px, 11.5, jitter=0.3)
    clumped = _at(smooth_noise(rng, shape, 22), red) + 0.3 > 0
    paint_red_cells(rng, tissue, red[(_at(reach, red) < 0.9) & clumped])
    return tissue


PAINTERS: dict[str, Callable[[np.random.Generator, int], FloatImage]] = {
    "spindle": paint_spindle,
    "pleomorphic": paint_pleomorphic,
    "necrosis": paint_necrosis,
    "myxoid": paint_myxoid,
    "fat": paint_fat,
    "lymphocyte": paint_lymphocyte,
    "vessel": paint_vessel,
}
PHENOTYPES = tuple(PAINTERS)  # class 1, 2, ... of a truth map; 0 is glass


def _nearest_ring(
    side_px: int, xy: Field, radius_px: Field, aspect: Field, turn: Field
) -> tuple[Field, Field]:
    """(side, side) distance to the nearest ellipse's centre in units of its radius, and the
    direction around it.
    """
    reach = np.full((side_px, side_px), 99, np.float32)
    around = np.zeros((side_px, side_px), np.float32)
    for (x0, y0), r, a, t in zip(xy, radius_px, aspect, turn):
        half = min(int(2.4 * r), side_px // 2)
        rows, columns = (
            np.arange(int(y0) - half, int(y0) + half),
            np.arange(int(x0) - half, int(x0) + half),
        )
        x, y = (columns - x0)[None], (rows - y0)[:, None]
        along, across = x * np.cos(t) + y * np.sin(t), (y * np.cos(t) - x * np.sin(t)) / a
        distance = (
            np.hypot(along, across) / r * (1 + 0.08 * np.cos(3 * np.arctan2(across, along) + x0))
        )
        place = np.ix_(rows % side_px, columns % side_px)
        nearer = distance < reach[place]
        reach[place] = np.where(nearer, distance, reach[place])
        around[place] = np.where(nearer, np.arctan2(y, x) + np.pi / 2, around[place])
    return reach, around


def _dyes(haematoxylin: Field, eosin: Field) -> FloatImage:
    return np.clip(np.stack([haematoxylin, eosin, np.zeros_like(eosin)], axis=-1), 0, None).astype(
        np.float32
    )


def _bending(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    sweep: float,
    scale_px: float,
    waviness: float,
) -> Field:
    """(H, W) direction: one of the field's own, large bends of SD `sweep` radians, small waves."""
    bends = sweep * smooth_noise(rng, shape, scale_px) + waviness * smooth_noise(rng, shape, 14)
    return np.asarray(rng.uniform(0, np.pi) + bends, np.float32)


def _step(field: Field, threshold: float, softness: float) -> Field:
    """Rise from 0 to 1 around the threshold."""
    return np.asarray(np.clip((field - threshold) / softness + 0.5, 0, 1))


def _at(field: Field, xy_px: Field) -> Field:
    """The field's values at points (x, y), wrapping around."""
    height, width = field.shape
    return np.asarray(
        field[xy_px[:, 1].astype(int) % height, xy_px[:, 0].astype(int) % width], np.float32
    )
